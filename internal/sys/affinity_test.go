package sys

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/testutil"
)

func TestOnOneCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	allowed := func() (s unix.CPUSet) {
		testutil.Must(t, unix.SchedGetaffinity(0, &s))
		return s
	}
	before, within := allowed(), []unix.CPUSet{}
	for range 2 {
		err := OnOneCPU(func() error { within = append(within, allowed()); return unix.EAGAIN })
		if !errors.Is(err, unix.EAGAIN) {
			t.Errorf("the error of the function became %v", err)
		}
	}
	if within[0].Count() != 1 || within[0] != within[1] {
		t.Errorf("%d CPUs, and %v beside %v", within[0].Count(), within[0], within[1])
	}
	if after := allowed(); after != before {
		t.Errorf("afterwards %d CPUs, before %d", after.Count(), before.Count())
	}
}
