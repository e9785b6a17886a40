package plan

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/fork"
)

// A child writes its labels into a folder that stands for procfs: neither this suite's machine nor its virtual one runs
// SELinux, and the first has no AppArmor either. The real files are tested where AppArmor is on (runtime/container).
func TestCVE_2019_16884_LabelsAreWrittenForExec(t *testing.T) {
	proc := t.TempDir()
	attr := filepath.Join(proc, "thread-self/attr")
	testutil.Must(t, os.MkdirAll(attr+"/apparmor", 0o755))
	files := map[string]string{attr + "/exec": "u:r:t:s0", attr + "/keycreate": "u:r:t:s0", attr + "/apparmor/exec": "exec berth-default"}
	for f := range files {
		testutil.Must(t, os.WriteFile(f, nil, 0o600))
	}
	dir, err := os.Open(proc)
	testutil.Must(t, err)
	w := &writer{b: fork.NewBuilder()}
	fake := w.b.File(dir)
	w.proc = &fake
	w.labels(&Process{AppArmor: "berth-default", SELinux: "u:r:t:s0"}, Launch{})
	w.b.Call("execute", sys.NrExecve, w.b.Str("/bin/true"), w.b.Argv([]string{"true"}), w.b.Argv(nil))
	program, err := w.b.Program()
	testutil.Must(t, err)
	defer program.Close()
	child, err := fork.Start(program, fork.Options{})
	testutil.Must(t, err)
	defer child.Pidfd.Close()
	p, err := os.FindProcess(child.PID)
	testutil.Must(t, err)
	_, err = p.Wait()
	testutil.Must(t, err)
	for f, expect := range files {
		got, err := os.ReadFile(f)
		testutil.Must(t, err)
		if string(got) != expect {
			t.Errorf("%s: %q, want %q", f, got, expect)
		}
	}
}

// A file in place of procfs's that leads elsewhere is not written to.
func TestCVE_2025_52881_LabelsDoNotLeaveProc(t *testing.T) {
	proc, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	testutil.Must(t, os.MkdirAll(proc+"/thread-self/attr", 0o755))
	testutil.Must(t, os.WriteFile(outside, nil, 0o600))
	testutil.Must(t, os.Symlink(outside, proc+"/thread-self/attr/exec"))
	dir, err := os.Open(proc)
	testutil.Must(t, err)
	w := &writer{b: fork.NewBuilder()}
	fake := w.b.File(dir)
	w.proc = &fake
	w.labels(&Process{SELinux: "u:r:t:s0"}, Launch{})
	w.b.Call("execute", sys.NrExecve, w.b.Str("/bin/true"), w.b.Argv([]string{"true"}), w.b.Argv(nil))
	program, err := w.b.Program()
	testutil.Must(t, err)
	defer program.Close()
	if _, err = fork.Start(program, fork.Options{}); err == nil {
		t.Error("it started")
	}
	if got, err := os.ReadFile(outside); err != nil || len(got) > 0 {
		t.Errorf("written: %q, %v", got, err)
	}
}
