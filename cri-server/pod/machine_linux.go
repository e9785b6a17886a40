package pod

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/pause"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// Linux is this machine.
func Linux() Machine { return linux{} }

type linux struct{}

var _ Machine = linux{}

const (
	nofollow = syscall.O_NOFOLLOW
	notExist = syscall.ENOENT
)

// Host finds out what containers can be given: what berthd has itself is what the keeper can hand on.
func (linux) Host(context.Context) (spec.Host, error) {
	name, err := os.Hostname()
	if err != nil {
		return spec.Host{}, err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return spec.Host{}, err
	}
	mask, err := capabilityMask(status)
	if err != nil {
		return spec.Host{}, err
	}
	h := spec.Host{Hostname: name, Capabilities: spec.CapabilitiesFromMask(mask)}
	if err := confinement(&h); err != nil {
		return spec.Host{}, err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return spec.Host{}, fmt.Errorf("read the limit of open files: %w", err)
	}
	h.NoFile = limit.Max
	h.HugepageSizes, err = hugepageSizes("/sys/kernel/mm/hugepages")
	return h, err
}

// capabilityMask returns what is both permitted and in the bounding set.
func capabilityMask(status []byte) (uint64, error) {
	mask := ^uint64(0)
	found := 0
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		if key != "CapPrm" && key != "CapBnd" {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("read own capabilities: %w", err)
		}
		mask &= set
		found++
	}
	if found != 2 {
		return 0, errdefs.NotSupported("read own capabilities: /proc/self/status has %d of 2 sets", found)
	}
	return mask, nil
}

// hugepageSizes turns "hugepages-2048kB" into "2MB", as cgroup files and CRI spell it.
func hugepageSizes(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list huge page sizes: %w", err)
	}
	var sizes []string
	for _, e := range entries {
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 54)
		switch {
		case err != nil:
		case kb >= 1<<20 && kb%(1<<20) == 0:
			sizes = append(sizes, strconv.FormatUint(kb>>20, 10)+"GB")
		case kb >= 1<<10 && kb%(1<<10) == 0:
			sizes = append(sizes, strconv.FormatUint(kb>>10, 10)+"MB")
		default:
			sizes = append(sizes, strconv.FormatUint(kb, 10)+"KB")
		}
	}
	return sizes, nil
}

// BootID tells one boot of the machine from another.
func (linux) BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// MountShm mounts a tmpfs of a size in bytes on path, which it makes.
func (linux) MountShm(path string, size int64) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	fsys, err := sys.Fsopen("tmpfs")
	if err != nil {
		return fmt.Errorf("open tmpfs: %w", err)
	}
	cu.Add(fsys.Close)
	for _, o := range [][2]string{{"source", "shm"}, {"size", strconv.FormatInt(size, 10)}, {"mode", "1777"}} {
		if err := fsys.SetString(o[0], o[1]); err != nil {
			return fmt.Errorf("set %s of tmpfs: %w", o[0], err)
		}
	}
	mount, err := fsys.Mount("shm", sys.MountNosuid|sys.MountNodev|sys.MountNoexec)
	if err != nil {
		return fmt.Errorf("make tmpfs: %w", err)
	}
	cu.Add(mount.Close)
	target, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|nofollow, 0)
	if err != nil {
		return err
	}
	cu.Add(target.Close)
	return sys.MoveMount(mount, target)
}

// Unmount takes off all that is mounted on path. What still uses it keeps it until it ends.
func (linux) Unmount(path string) error {
	const umountNofollow = 8
	for {
		err := syscall.Unmount(path, syscall.MNT_DETACH|umountNofollow)
		switch {
		case err == nil, errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOENT): // nothing (more) is mounted there
			return nil
		default:
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
}

// PauseRoot makes what a pause process is made of.
func (linux) PauseRoot(label string) (*os.File, error) { return pause.Root(label) }

// User looks a user up in the root of an image. An unknown one is a mistake of who asked for it, or of the image.
func (linux) User(root *os.File, user string) (spec.User, error) {
	u, err := rootfs.LookupUser(root, user)
	if errors.Is(err, errdefs.ErrNotFound) {
		return spec.User{}, errdefs.Invalid("%v", err) // not "not found": that is for containers and images
	}
	if err != nil {
		return spec.User{}, err
	}
	return spec.User{UID: u.UID, GID: u.GID, Groups: u.Groups, Home: u.Home}, nil
}

// resolveLinks is what every later look at a path must agree with: the kernel follows the same links.
func resolveLinks(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		// The kubelet's users rely on it (hostPath without a type), as do those of all peers.
		if err := os.MkdirAll(path, 0o755); err != nil {
			return "", fmt.Errorf("make the missing host path: %w", err)
		}
		return filepath.EvalSymlinks(path)
	}
	return real, err
}
