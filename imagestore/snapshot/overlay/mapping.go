package overlay

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// mountMapped mounts an overlay whose lower folders show the owners of a user namespace (Linux 5.19). The upper folder
// stays as it is: what is written has the owners of the namespace on the disk too, and its root, which the layers don't
// show, gets the one that the topmost layer's has.
func (d *Driver) mountMapped(a *attachment, attr uint64) (m *os.File, err error) {
	if a.users == nil {
		return d.mount(d.how, a, attr)
	}
	plain, err := a.mapLower()
	cu := cleanup.Make(&err)
	for _, l := range plain {
		cu.Add(l.Close)
	}
	defer cu.Clean()
	if err != nil {
		return nil, err
	}
	if err := a.giveUpper(); err != nil {
		return nil, err
	}
	if m, err = d.mountShown(a, attr); err != nil {
		return nil, err
	}
	cu.Release()
	for _, l := range plain {
		err = errors.Join(err, l.Close())
	}
	return m, err
}

// mountShown mounts an overlay of mapped layers. That they must be attached is found out once, by ProbeMapping as a rule: the kernel logs each time that it
// refuses others ("failed to clone lowerpath").
func (d *Driver) mountShown(a *attachment, attr uint64) (*os.File, error) {
	if !d.attached.Load() {
		m, err := d.mount(d.how, a, attr)
		if !errors.Is(err, syscall.EINVAL) {
			return m, err
		}
	}
	m, err := d.mountAttached(a, attr)
	if err == nil {
		d.attached.Store(true)
	}
	return m, err
}

// mapLower puts mapped mounts in the places of the lower folders, and returns those.
func (a *attachment) mapLower() (plain []*sys.Dir, err error) {
	for i, l := range a.lower {
		m, err := show(l, 0, a.users)
		if err != nil {
			return plain, err
		}
		a.mapped = append(a.mapped, m)
		dir, err := sys.DirOf(m)
		if err != nil {
			return plain, err
		}
		a.lower[i] = dir
		plain = append(plain, l)
	}
	return plain, nil
}

func (a *attachment) giveUpper() error {
	if a.upper == nil {
		return nil
	}
	st, err := a.lower[0].Stat()
	if err != nil {
		return fmt.Errorf("look at the root of the topmost layer: %w", err)
	}
	if err := a.upper.Chown(st.Uid, st.Gid); err != nil {
		return fmt.Errorf("give the upper folder to %d:%d: %w", st.Uid, st.Gid, err)
	}
	return nil
}

// mountAttached is for kernels before 6.15, which take folders only from mounts that are attached where the caller is. So the
// layers are attached, one over the other, in a mount namespace that ends with this call, and the other folders are opened
// there again.
func (d *Driver) mountAttached(a *attachment, attr uint64) (m *os.File, err error) {
	err = sys.InMountNamespace(func() (err error) {
		for _, l := range a.mapped {
			at, err := os.Open("/")
			if err != nil {
				return err
			}
			if err := errors.Join(sys.MoveMount(l, at), at.Close()); err != nil {
				return fmt.Errorf("attach a layer: %w", err)
			}
		}
		for _, dir := range []**sys.Dir{&a.upper, &a.work} {
			if err := reopen(dir); err != nil {
				return err
			}
		}
		if a.work != nil { // the kernel may have marked it before it refused the layers
			if err := clearVolatile(a.work); err != nil {
				return err
			}
		}
		if a.tmp, err = openHere(d.tmp); err != nil {
			return err
		}
		m, err = d.mount(d.how, a, attr)
		return errors.Join(err, a.tmp.Close())
	})
	return m, err
}

// reopen replaces a folder by the same one as the mount namespace of this thread has it.
func reopen(dir **sys.Dir) error {
	if *dir == nil {
		return nil
	}
	here, err := openHere(*dir)
	if err != nil {
		return err
	}
	old := *dir
	*dir = here
	return old.Close()
}

func openHere(dir *sys.Dir) (*sys.Dir, error) {
	path, err := dir.Realpath()
	if err != nil {
		return nil, err
	}
	return sys.OpenDir(path)
}

func mappingError(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return errdefs.New(errdefs.ErrNotSupported, "the file system of the image store has no ID-mapped mounts on this kernel (mount_setattr(2)): %w", err)
	}
	return fmt.Errorf("map owners: %w", err)
}

// ProbeMapping mounts a small overlay so, and uses it.
func (d *Driver) ProbeMapping(users *os.File) (err error) {
	temp, dir, err := d.temp("probe")
	if err != nil {
		return err
	}
	cu := cleanup.Make(&err) // never released: nothing of this is to stay
	defer cu.Clean()
	cu.Add(func() error { return removeTree(d.tmp, temp) })
	cu.Add(dir.Close)
	return d.tryAttachment(dir, "mapped", users, func(a *attachment) error {
		m, err := d.mountMapped(a, 0)
		if err != nil {
			return errdefs.New(errdefs.ErrNotSupported, "mount layers with the owners of a user namespace: %w", err)
		}
		return errors.Join(use(m), m.Close())
	})
}
