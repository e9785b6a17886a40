package plan_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/plan"
)

func open(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open("/")
	testutil.Must(t, err)
	return f
}

// A process mounts a procfs of its own only where it is given none.
func TestExecUsesTheProcfsThatItIsGiven(t *testing.T) {
	for _, given := range []bool{false, true} {
		e, err := plan.NewExec(spec().Process, facts())
		testutil.Must(t, err)
		e.Target.Known = true
		if given {
			e.Proc = open(t)
		}
		program, err := e.Program(open(t), nil)
		testutil.Must(t, err)
		data, files := program.Marshal()
		if mounts := bytes.Contains(data, []byte("mount proc")); mounts == given || len(files) != 1 && !given || len(files) != 2 && given {
			t.Errorf("given %t: mounts %t, %d files", given, mounts, len(files))
		}
		testutil.Must(t, program.Close())
	}
}

func TestExecClosesTheProcfsOfAPlanThatFails(t *testing.T) {
	e, err := plan.NewExec(spec().Process, facts())
	testutil.Must(t, err)
	proc := open(t)
	e.Proc = proc
	if _, err := e.Program(open(t), nil); !errors.Is(err, errdefs.ErrBug) { // nobody has looked at the container
		t.Errorf("got %v", err)
	}
	if err := proc.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the procfs is open: %v", err)
	}
}
