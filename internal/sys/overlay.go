package sys

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SetDir sets an option to an open folder (FSCONFIG_SET_FD).
func (c *FSContext) SetDir(key string, d *Dir) error {
	return retry(func() error { return unix.FsconfigSetFd(c.fd, key, d.fd) })
}

// DirOf opens the folder that a file stands for, for instance the root of a detached mount.
func DirOf(f *os.File) (d *Dir, err error) {
	err = withFd(f, func(fd int) (err error) {
		d, err = openDir(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
		return err
	})
	return d, err
}

// MountOverlay attaches a new overlay on a folder, by mount(2). The options may name at most one page.
func MountOverlay(at *Dir, options string) error {
	if len(options) >= os.Getpagesize() {
		return unix.E2BIG
	}
	return retry(func() error { return unix.Mount("overlay", at.Path(), "overlay", 0, options) })
}

// UnmountAt detaches what is mounted on name in d; nothing being mounted there is fine.
func (d *Dir) UnmountAt(name string) error {
	err := retry(func() error {
		return unix.Unmount(d.Path()+"/"+name, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // EINVAL: no mount point
		return nil
	}
	return err
}

// Umask returns the mode bits that this process takes from what it makes, without changing them (Linux 4.7).
func Umask() (uint32, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if value, ok := bytes.CutPrefix(line, []byte("Umask:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 8, 32)
			return uint32(n), err
		}
	}
	return 0, unix.ENOTSUP
}

// ModTime returns the time of the last change of content.
func ModTime(st *syscall.Stat_t) time.Time { return time.Unix(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)) }

// BootID returns the random name of this boot of the kernel (random(4)).
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(data)), err
}
