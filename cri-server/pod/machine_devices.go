package pod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// maxDevices bounds what one container can be given: /dev of a large storage server has a few thousand.
const maxDevices = 1 << 14

// Devices finds out what the devices are that a client names. A folder stands for all devices in it.
func (linux) Devices(ctx context.Context, list []spec.Device) ([]spec.DeviceNode, error) {
	var nodes []spec.DeviceNode
	for _, d := range list {
		info, err := os.Stat(d.HostPath) // links are followed: udev's names are links
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errdefs.Invalid("device %s does not exist on the host", d.HostPath)
		}
		if err != nil {
			return nil, fmt.Errorf("look at device %s: %w", d.HostPath, err)
		}
		if !info.IsDir() {
			node, ok := deviceNode(d.ContainerPath, info)
			if !ok {
				return nil, errdefs.Invalid("%s is not a device", d.HostPath)
			}
			node.Permissions = d.Permissions
			nodes = append(nodes, node)
			continue
		}
		found, err := devicesBelow(ctx, d.HostPath, d.ContainerPath, nil)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].Permissions = d.Permissions
		}
		nodes = append(nodes, found...)
	}
	return nodes, nil
}

// AllDevices returns those of /dev that a privileged container gets besides the standard ones. Terminals, shared memory
// and message queues are its own.
func (linux) AllDevices(ctx context.Context) ([]spec.DeviceNode, error) {
	skip := []string{
		"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "null", "zero", "full", "random", "urandom",
		"tty", "ptmx",
	}
	return devicesBelow(ctx, "/dev", "/dev", skip)
}

// devicesBelow walks a folder without following links. skip names entries of the folder itself.
func devicesBelow(ctx context.Context, dir, to string, skip []string) ([]spec.DeviceNode, error) {
	var nodes []spec.DeviceNode
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // unplugged meanwhile
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		below := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		if slices.Contains(skip, below) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.Type()&fs.ModeDevice == 0 {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			//lint:ignore nilerr unplugged meanwhile
			return nil
		}
		if node, ok := deviceNode(filepath.Join(to, below), info); ok {
			nodes = append(nodes, node)
		}
		if len(nodes) > maxDevices {
			return errdefs.New(errdefs.ErrExhausted, "more than %d devices", maxDevices)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list devices below %s: %w", dir, err)
	}
	return nodes, nil
}

// deviceNode says false if the file is no device.
func deviceNode(path string, info fs.FileInfo) (spec.DeviceNode, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&fs.ModeDevice == 0 {
		return spec.DeviceNode{}, false
	}
	kind := "b"
	if info.Mode()&fs.ModeCharDevice != 0 {
		kind = "c"
	}
	return spec.DeviceNode{
		Path: path, Type: kind, Major: major(st.Rdev), Minor: minor(st.Rdev), Mode: info.Mode().Perm(), UID: st.Uid, GID: st.Gid,
	}, true
}

// The kernel's encoding of device numbers in struct stat (include/linux/kdev_t.h, new_encode_dev and its 64-bit form).
func major(dev uint64) int64 { return int64((dev>>8)&0xfff | (dev>>32)&^uint64(0xfff)) }
func minor(dev uint64) int64 { return int64(dev&0xff | (dev>>12)&^uint64(0xff)) }
