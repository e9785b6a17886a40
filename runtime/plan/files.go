package plan

import (
	"errors"
	"os"

	"github.com/berth-runtime/berth/runtime/rootfs"
)

// Files are what a plan needs to become a program: open files and resolved places, index by index with the plan's lists.
type Files struct {
	Root  *os.File   // detached root mount
	Tasks []*os.File // cgroup v1: files to write "0" to
	Join  []*os.File // of Plan.Join
	User  *os.File   // of Plan.User
	Host  *os.File   // with Plan.HostMounts: the launcher's mount namespace

	Mounts []*os.File     // of Plan.Mounts: detached mounts, nil where the child makes one
	Places []rootfs.Place // of Plan.Mounts

	Devices  []rootfs.Place // of Plan.Devices: the folders they are in
	Links    []rootfs.Place // of Plan.Links: the same
	Readonly []rootfs.Place // of Plan.ReadonlyPaths
	Masked   []rootfs.Place // of Plan.MaskedPaths; Exists and Dir are known of those in a kernel file system too

	Cwd     rootfs.Place
	Console rootfs.Place // of /dev/console, for a terminal
	PTY     int          // the terminal's number in its devpts
}

// Close closes all files: for those who give up before a program took them over.
func (f *Files) Close() error {
	var errs []error
	for _, list := range [][]*os.File{{f.Root, f.User, f.Host}, f.Tasks, f.Join, f.Mounts} {
		for i, file := range list {
			if file != nil {
				errs = append(errs, file.Close())
				list[i] = nil
			}
		}
	}
	f.Root, f.User, f.Host = nil, nil, nil
	return errors.Join(errs...)
}
