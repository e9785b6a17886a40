package fork_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/fork"
)

// TestCVE_2016_9962_ChildIsNotDumpable holds by itself what a launcher that is not dumpable either would hide.
func TestCVE_2016_9962_ChildIsNotDumpable(t *testing.T) {
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || d != 1 {
		t.Fatalf("this process is dumpable: %d, %v; want 1, or the test can't fail", d, err)
	}
	b := fork.NewBuilder()
	zero := fork.Imm(0)
	b.Checkpoint("tell", 1, b.Call("ask", unix.SYS_PRCTL, fork.Imm(unix.PR_GET_DUMPABLE), zero, zero, zero, zero).Result())
	shell(b, "exit 0")
	files, _ := stdio(t)
	c, err := fork.Start(program(t, b), fork.Options{Stdio: files, Checkpoint: func(cp fork.Checkpoint) error {
		if cp.Value != 0 {
			t.Errorf("the child is dumpable: %d", cp.Value)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	end(t, c)
}
