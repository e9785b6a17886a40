package fork_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// childStatus returns si_status of a siginfo about a child, 24 bytes in on 64-bit machines.
func childStatus(info *unix.Siginfo) int32 {
	return *(*int32)(unsafe.Add(unsafe.Pointer(info), 24))
}
