package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTests(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want counts
	}{
		"subtests count, their parent does not": {
			`{"Action":"run","Package":"p","Test":"A"}
{"Action":"run","Package":"p","Test":"A/x"}
{"Action":"run","Package":"p","Test":"A/y"}
{"Action":"pass","Package":"p","Test":"A/x"}
{"Action":"output","Package":"p","Test":"A/y","Output":"    a_test.go:1: SKIP-REASON: no ipvlan here\n"}
{"Action":"skip","Package":"p","Test":"A/y"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p"}`,
			counts{passed: 1, skipped: 1, reasons: []string{"A/y: no ipvlan here"}},
		},
		"a failing test counts once": {
			`{"Action":"run","Package":"p","Test":"A"}
{"Action":"run","Package":"p","Test":"A/x"}
{"Action":"fail","Package":"p","Test":"A/x"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p"}`,
			counts{failed: 1, broken: []string{"p A/x"}},
		},
		"a leak fails a package whose tests pass": {
			`{"Action":"run","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Output":"LEAK: 1 × open file\n"}
{"Action":"fail","Package":"p"}`,
			counts{passed: 1, failed: 1, broken: []string{"p"}},
		},
		"a package that does not build": {
			`{"Action":"build-output","ImportPath":"p","Output":"x.go:1: syntax error\n"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`,
			counts{failed: 1, broken: []string{"p"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readTests(strings.NewReader(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(counts{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadCounts(t *testing.T) {
	got, err := readCounts(strings.NewReader("noise\r\nFAILED: it\r\nSKIP-REASON: no kvm\r\n3 passed, 1 failed, 2 skipped, 1 known failures\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(counts{passed: 3, failed: 1, skipped: 2, broken: []string{"it"}, reasons: []string{"no kvm"}}, got, cmp.AllowUnexported(counts{})); diff != "" {
		t.Error(diff)
	}
	if _, err := readCounts(strings.NewReader("it broke\n")); err == nil {
		t.Error("a step without counts passes")
	}
}

func TestChoose(t *testing.T) {
	if _, err := choose(steps(), []string{"unti"}); err == nil {
		t.Error("an unknown step is accepted")
	}
	some, err := choose(steps(), []string{"crash", "e2e"})
	if err != nil || len(some) != 2 || some[0].name != "e2e" {
		t.Errorf("%v, %v", some, err)
	}
}
