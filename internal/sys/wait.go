package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ChildExit is how a process ended: by a signal if Signal is not 0, else with Status.
type ChildExit struct {
	Status int
	Signal syscall.Signal
}

// childInfo is the part of siginfo_t that waitid fills in, as laid out on 64-bit machines.
type childInfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
	_                     [128 - 28]byte
}

const (
	cldExited = 1
)

// ReapPidfd reaps the caller's child behind a pidfd (Linux 5.4). It does not wait: ok is false while the child runs. ECHILD:
// it is not, or no longer, a child of the caller.
func ReapPidfd(pidfd Raw) (exit ChildExit, ok bool, err error) { return reap(pidfd, unix.WNOHANG) }

// WaitPidfdFile waits for the end of the caller's child behind a pidfd, in the kernel, and reaps it.
func WaitPidfdFile(pidfd *os.File) (exit ChildExit, err error) {
	err = withFd(pidfd, func(fd int) error {
		exit, _, err = reap(Raw(fd), 0)
		return err
	})
	return exit, err
}

func reap(pidfd Raw, options int) (exit ChildExit, ok bool, err error) {
	var info childInfo
	err = retry(func() error {
		return unix.Waitid(unix.P_PIDFD, int(pidfd), (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|options, nil)
	})
	if err != nil || info.pid == 0 {
		return ChildExit{}, false, err
	}
	if info.code == cldExited {
		return ChildExit{Status: int(info.status)}, true, nil
	}
	return ChildExit{Signal: syscall.Signal(info.status)}, true, nil
}

// ReapPidfdFile is [ReapPidfd] for an *os.File.
func ReapPidfdFile(pidfd *os.File) (exit ChildExit, ok bool, err error) {
	err = withFd(pidfd, func(fd int) error {
		exit, ok, err = ReapPidfd(Raw(fd))
		return err
	})
	return exit, ok, err
}

// PidfdExit returns how the process behind a pidfd ended, whoever reaped it (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux
// 6.15). ok is false before it was reaped, and on older kernels.
func PidfdExit(pidfd Raw) (exit ChildExit, ok bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := retry(func() error { return unix.IoctlPidfdInfo(int(pidfd), &info) }); err != nil {
		return ChildExit{}, false
	}
	if info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return ChildExit{}, false
	}
	return WaitStatus(int(info.Exit_code)), true
}

// WaitStatus decodes the status word of wait(2).
func WaitStatus(word int) ChildExit {
	if sig := word & 0x7f; sig != 0 {
		return ChildExit{Signal: syscall.Signal(sig)}
	}
	return ChildExit{Status: word >> 8 & 0xff}
}

// RawPidfdOpen is [PidfdOpen] for a bare descriptor.
func RawPidfdOpen(pid int) (Raw, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	return Raw(fd), err
}

// PidfdAlive reports whether the process behind a pidfd exists: it runs, or is a zombie that nobody has reaped.
func PidfdAlive(pidfd Raw) bool {
	err := unix.PidfdSendSignal(int(pidfd), 0, nil, 0)
	return err == nil || err == unix.EPERM
}
