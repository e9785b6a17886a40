package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// catchable are the signals that [CatchSignals] catches, one bit each from SIGHUP on. They are all that someone may want to pass
// on, but for SIGHUP, SIGINT, SIGQUIT and SIGTERM, which the Go runtime never leaves blocked. A program's entry that blocks them
// has the same number.
const catchable = 0xfffffffc3bba2a00

// CatchSignals returns a file to read signals from, one after the other, with [ReadSignal] (signalfd(2)). It works in a process
// that has had them blocked since before the Go runtime started; in another one the file is nil.
func CatchSignals() (*os.File, error) {
	var blocked unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &blocked); err != nil {
		return nil, fmt.Errorf("look which signals are blocked: %w", err)
	}
	if blocked.Val[0]&catchable != catchable {
		return nil, nil
	}
	fd, err := unix.Signalfd(-1, &unix.Sigset_t{Val: [16]uint64{catchable}}, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("catch signals: %w", err)
	}
	return os.NewFile(uintptr(fd), "signals"), nil
}

// ReadSignal waits for the next signal.
func ReadSignal(f *os.File) (syscall.Signal, error) {
	var info [unsafe.Sizeof(unix.SignalfdSiginfo{})]byte
	if _, err := f.Read(info[:]); err != nil {
		return 0, err
	}
	return syscall.Signal(binary.NativeEndian.Uint32(info[:])), nil
}

// defaultTimerSlack is the kernel's, in nanoseconds.
const defaultTimerSlack = 50_000

// WithDefaults calls f in a thread that gets all signals and has the kernel's timer slack (PR_SET_TIMERSLACK), as a process that
// f starts then does.
func WithDefaults(f func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, &before); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)) }()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, defaultTimerSlack, 0, 0, 0); err != nil {
		return err
	}
	return f()
}
