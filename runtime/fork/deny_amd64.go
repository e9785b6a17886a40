package fork

import "golang.org/x/sys/unix"

func breaksChildHere(nr uint32) bool { return nr == unix.SYS_FORK || nr == unix.SYS_VFORK }
