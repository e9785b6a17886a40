package lsm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
)

// Modules are those that a process can be given a profile or a label of.
type Modules struct {
	AppArmor bool
	SELinux  bool // on, enforcing or not
}

const (
	apparmorEnabled = "/sys/module/apparmor/parameters/enabled"
	selinuxFolder   = "/sys/fs/selinux"
	selinuxMagic    = 0xf97cff8c // SELINUX_MAGIC of linux/magic.h
)

// Detect asks the kernel.
func Detect() (Modules, error) {
	var m Modules
	enabled, err := os.ReadFile(apparmorEnabled)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("ask for AppArmor: %w", err)
	}
	m.AppArmor = bytes.HasPrefix(enabled, []byte("Y"))
	m.SELinux, err = selinuxMounted(selinuxFolder)
	return m, err
}

// selinuxMounted looks for SELinux's own file system: the folder alone is there whenever the kernel was built with it.
func selinuxMounted(path string) (bool, error) {
	f, err := sys.Openat2(nil, path, sys.OPath, 0, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for SELinux: %w", err)
	}
	magic, err := sys.FilesystemType(f)
	return magic == selinuxMagic, errors.Join(err, f.Close())
}
