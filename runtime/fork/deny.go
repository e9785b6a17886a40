package fork

import "golang.org/x/sys/unix"

const (
	sysExecveat = unix.SYS_EXECVEAT
	sysClone3   = unix.SYS_CLONE3
)

// Operations are entries of a program that are no system calls. Their numbers lie beyond those of all architectures.
const (
	opFirst      = maxNR
	opCheckpoint = opFirst     // tag, value
	opRelease    = opFirst + 1 // where to report from now on, nothing
	opEnd        = opFirst + 2
)

// breaksChild names the calls after which the child could no longer run its list or report: a second process running
// the same list (but for Builder.Clone), a vanished stack, an unreported end.
func breaksChild(nr uint32) bool {
	switch nr {
	case unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_RT_SIGRETURN, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
		unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_BRK:
		return true
	}
	return breaksChildHere(nr)
}
