package plugin

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/testutil"
)

// What the entry hands on is what the kernel passed, and its own behind that.
func TestEntry(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	build := exec.Command(testutil.RequireTool(t, "go"), "build", "-ldflags=-E=_berth_plugin_"+runtime.GOARCH+"_linux", "-o", program, "./testdata/entry")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	type start struct {
		Procs, Page int
		Slack       string
		Args, Env   []string
	}
	for _, tc := range []struct {
		args, env, seen []string
		procs           int
	}{
		{nil, []string{}, []string{"GOMAXPROCS=1"}, 1},
		{[]string{"", "a b"}, []string{"CNI_COMMAND=ADD", "", "X="}, []string{"CNI_COMMAND=ADD", "X=", "GOMAXPROCS=1"}, 1},
		{[]string{"a"}, []string{"GOMAXPROCS=3", "Y=y"}, []string{"GOMAXPROCS=3", "Y=y"}, 3},
	} {
		cmd := exec.Command(program, tc.args...)
		cmd.Env = tc.env
		out, err := cmd.Output()
		testutil.Must(t, err)
		var got start
		testutil.Must(t, json.Unmarshal(out, &got))
		want := start{tc.procs, os.Getpagesize(), "500000\n", append([]string{program}, tc.args...), tc.seen}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q %q: %s", tc.env, tc.args, diff)
		}
	}
}
