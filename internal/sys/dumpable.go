package sys

import "golang.org/x/sys/unix"

// SetDumpable says whether this process may be traced by others of its user and dump core (PR_SET_DUMPABLE).
func SetDumpable(on bool) error {
	v := uintptr(0)
	if on {
		v = 1
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, v, 0, 0, 0)
}
