package container_test

import (
	"syscall"
	"unsafe"
)

// exchange swaps two names (renameat2 with RENAME_EXCHANGE, which the standard library lacks).
func exchange(from, to *byte) {
	const exchangeFlag = 2
	at := -100 // AT_FDCWD
	// What fails is tried again by the next round.
	_, _, _ = syscall.Syscall6(sysRenameat2, uintptr(at), uintptr(unsafe.Pointer(from)), uintptr(at), uintptr(unsafe.Pointer(to)), exchangeFlag, 0)
}
