package prepare

import (
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/rootfs"
	"github.com/berth-runtime/berth/runtime/userns"
)

// user makes or opens the container's user namespace. From a joined one it reads what is mapped in it.
func (pr *Prepared) user() error {
	u := pr.plan.User
	if u == nil {
		return nil
	}
	if u.Path == "" {
		made, err := userns.Make(u.Mappings, userns.Kinds{Net: pr.plan.MakesNetwork()})
		pr.Files.User, pr.net = made.User, made.Net
		return err
	}
	f, err := openNamespace(plan.Namespace{Type: specs.UserNamespace, Path: u.Path})
	if err != nil {
		return err
	}
	pr.Files.User = f
	found, err := userns.Read(f)
	if err != nil {
		return err
	}
	if len(u.Mappings.UIDs) > 0 {
		if !found.Equal(u.Mappings) {
			return errdefs.Invalid("linux.uidMappings: user namespace %s has %+v, not %+v", u.Path, found, u.Mappings)
		}
		return nil
	}
	u.Mappings = found
	return u.CheckProcess(pr.opts.Spec.Process)
}

// owner is who shall own what is made in the container's root: its own root.
func (pr *Prepared) owner() rootfs.Owner {
	if pr.plan.User == nil {
		return rootfs.Owner{}
	}
	uid, gid := HostIDs(&pr.plan.User.Mappings, 0, 0)
	return rootfs.Owner{UID: uid, GID: gid}
}

// ProcessIDs returns the user and group of the container's process as the host knows them.
func (pr *Prepared) ProcessIDs() (uid, gid uint32) {
	u := pr.opts.Spec.Process.User
	if pr.plan.User == nil {
		return u.UID, u.GID
	}
	return HostIDs(&pr.plan.User.Mappings, u.UID, u.GID)
}

// HostIDs translates a user and a group that are mapped; without mappings they are the host's.
func HostIDs(m *userns.Mappings, uid, gid uint32) (hostUID, hostGID uint32) {
	if m == nil {
		return uid, gid
	}
	uid, _ = m.HostUID(uid)
	gid, _ = m.HostGID(gid)
	return uid, gid
}

// Target asks the kernel about the container of a running process, for plans of processes that shall join it. The caller
// makes sure afterwards that it was the process meant.
func Target(pid int) (plan.Target, error) {
	t := plan.Target{Known: true}
	own, err := ownNamespace(pid, "user")
	if err != nil {
		return t, err
	}
	if !own {
		m, err := userns.Of(pid)
		if err != nil {
			return t, err
		}
		t.User = &m
	}
	own, err = ownNamespace(pid, "time")
	if errors.Is(err, os.ErrNotExist) { // a kernel without
		return t, nil
	}
	t.Time = !own
	return t, err
}

// ownNamespace tells whether a process is in our namespace of a kind.
func ownNamespace(pid int, name string) (bool, error) {
	own, err := os.Stat("/proc/self/ns/" + name)
	if err != nil {
		return false, err
	}
	that, err := os.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	if err != nil {
		return false, err
	}
	return os.SameFile(own, that), nil
}
