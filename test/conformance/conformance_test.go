package conformance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/conformance"
)

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite>
  <testcase name="[BeforeSuite]" status="passed" time="0.1"></testcase>
  <testcase name="[It] [k8s.io] Pod runs" status="passed" time="1.5"></testcase>
  <testcase name="[It] [k8s.io] Pod sleeps" status="failed" time="2"><failure message="too&#10;tired">stack</failure></testcase>
  <testcase name="[It] [k8s.io] benchmark" status="skipped"><skipped message="skipped"></skipped></testcase>
  <testcase name="[It] [k8s.io] Pod flies" status="skipped"><skipped message="skipped - no wings"></skipped></testcase>
</testsuite></testsuites>`

func specs(t *testing.T) []conformance.Spec {
	t.Helper()
	dir := t.TempDir()
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "junit.xml"), []byte(report), 0o644))
	specs, err := conformance.ReadReports(dir)
	testutil.Must(t, err)
	return specs
}

func TestReadReports(t *testing.T) {
	want := []conformance.Spec{
		{Name: "[k8s.io] Pod runs", Outcome: conformance.Passed, Seconds: 1.5},
		{Name: "[k8s.io] Pod sleeps", Outcome: conformance.Failed, Message: "too tired stack", Seconds: 2},
		{Name: "[k8s.io] Pod flies", Outcome: conformance.Skipped, Message: "skipped - no wings"},
	}
	if diff := cmp.Diff(want, specs(t)); diff != "" {
		t.Error(diff)
	}
	if _, err := conformance.ReadReports(t.TempDir()); err == nil {
		t.Error("a run without a report passes")
	}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		known string
		ok    bool
	}{
		"unlisted failure":      {"", false},
		"listed failure":        {"Pod sleeps # no bed yet", true},
		"listed spec passes":    {"Pod sleeps # no bed yet\nPod runs # no legs yet", false},
		"entry matches nothing": {"Pod sleeps # no bed yet\nPod swims # no water", false},
		"listed and skipped":    {"Pod sleeps # no bed yet\nPod flies # no wings", true},
	} {
		t.Run(name, func(t *testing.T) {
			known, err := conformance.ParseKnown(strings.NewReader(c.known))
			testutil.Must(t, err)
			var out strings.Builder
			v := conformance.Judge(specs(t), known)
			v.Write(&out)
			if v.OK() != c.ok {
				t.Errorf("ok = %v\n%s", v.OK(), out.String())
			}
			if !strings.Contains(out.String(), "1 × critest: no wings") {
				t.Errorf("the skip's reason is not shown:\n%s", out.String())
			}
		})
	}
}

func TestKnownFailuresHaveReasons(t *testing.T) {
	for _, line := range []string{"Pod runs", "Pod runs # ", "( # broken"} {
		if _, err := conformance.ParseKnown(strings.NewReader(line)); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
	f, err := os.Open("known-failures.txt")
	testutil.Must(t, err)
	defer f.Close()
	known, err := conformance.ParseKnown(f)
	testutil.Must(t, err)
	if len(known) == 0 {
		t.Error("the list is empty")
	}
}
