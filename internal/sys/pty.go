package sys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Magic numbers of file systems, for [FilesystemType].
const (
	DevptsMagic = unix.DEVPTS_SUPER_MAGIC
	ProcMagic   = unix.PROC_SUPER_MAGIC
)

// OpenPTYSlave opens the other end of a pty master, through no path (TIOCGPTPEER, Linux 4.13), and returns its number in
// its devpts.
func OpenPTYSlave(master *os.File) (slave *os.File, number int, err error) {
	err = withFd(master, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return fmt.Errorf("unlock the pty: %w", err)
		}
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return fmt.Errorf("ask for the pty's number: %w", err)
		}
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			return fmt.Errorf("open the pty's slave: %w", errno)
		}
		slave = os.NewFile(n, "pts")
		return nil
	})
	return slave, number, err
}

// SetWinsize sets the size of a terminal, in characters.
func SetWinsize(tty *os.File, width, height uint16) error {
	return withFd(tty, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	})
}
