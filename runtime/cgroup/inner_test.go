package cgroup

import (
	"strings"
	"testing"
)

func TestSubOf(t *testing.T) {
	for file, want := range map[string]string{
		"0::/pod/c\n":                            "",
		"1:cpu:/x\n0::/pod/c/init.scope\n":       "init.scope",
		"0::/pod/c/system.slice/x y.service\n":   "system.slice/x y.service",
		"0::/pod/c2/init.scope\n":                "error",
		"0::/\n":                                 "error",
		"0::/../pod/c\n":                         "error",
		"0::/pod/c/../../etc\n":                  "error",
		"0::/pod/c/init.scope (deleted)\n":       "init.scope (deleted)",
		"1:name=systemd:/pod/c\n":                "error",
		"":                                       "error",
		"0::/pod/c/a" + strings.Repeat("/a", 50): "a" + strings.Repeat("/a", 50),
	} {
		got, err := subOf(file, "/pod/c")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, want %q (%v)", file, got, want, err)
		}
	}
}

func FuzzSubOf(f *testing.F) {
	f.Add("0::/pod/c/init.scope\n")
	f.Fuzz(func(t *testing.T, file string) {
		sub, err := subOf(file, "/pod/c")
		if err == nil && sub != "" && (strings.HasPrefix(sub, "/") || strings.Contains("/"+sub+"/", "/../")) {
			t.Errorf("%q: %q", file, sub)
		}
	})
}
