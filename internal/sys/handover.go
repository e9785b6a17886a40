package sys

import (
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Number returns the number of an open file, which is good for as long as nobody closes it.
func Number(f *os.File) (r Raw, err error) {
	err = withFd(f, func(fd int) error {
		r = Raw(fd)
		return nil
	})
	if err != nil {
		return NoFile, err
	}
	return r, nil
}

// SetCloseOnExec says whether execve closes the descriptor.
func (r Raw) SetCloseOnExec(on bool) error {
	flags := 0
	if on {
		flags = unix.FD_CLOEXEC
	}
	_, err := unix.FcntlInt(uintptr(r), unix.F_SETFD, flags)
	return err
}

// Size returns the size of the file in bytes.
func (r Raw) Size() (int64, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(int(r), &st) })
	return st.Size, err
}

// Inherited returns the descriptors from first on that execve did not close, and marks them close-on-exec. It is for the beginning
// of a process: nobody else may be opening files without that mark.
func Inherited(first int) ([]Raw, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var list []Raw
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < first {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 { // the folder's own is gone by now
			continue
		}
		if err := Raw(fd).SetCloseOnExec(true); err != nil {
			return nil, err
		}
		list = append(list, Raw(fd))
	}
	slices.Sort(list)
	return list, nil
}

// ExecFile turns the process into the program in an open file, which must not be a script. It returns only if that fails. Go
// gives a program the limit of open files that it was started with itself; after a failure the present one is put back.
func ExecFile(f *os.File, argv, env []string) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	return withFd(f, func(fd int) error {
		err := syscall.Exec("/proc/self/fd/"+strconv.Itoa(fd), argv, env)
		// Not by setrlimit of this package, which Go would take for a wish about later programs.
		if back := unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil); back != nil {
			return back
		}
		return err
	})
}
