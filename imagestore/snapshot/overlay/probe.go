package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// probe makes a small overlay in tmp in each way, newest first, and uses it: writes a file, and hides one of the lower
// folder, which needs attributes and device nodes in the upper one.
func (d *Driver) probe(ctx context.Context) (how mounter, err error) {
	temp, dir, err := d.temp("probe")
	if err != nil {
		return "", err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return removeTree(d.tmp, temp) })
	cu.Add(dir.Close)
	var reasons []error
	for _, how := range []mounter{byFile, byPath, byCall} {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		err := d.try(how, dir, string(how))
		if err == nil {
			return how, nil
		}
		reasons = append(reasons, fmt.Errorf("by %s: %w", how, err))
	}
	return "", errdefs.New(errdefs.ErrNotSupported,
		"it can't hold writable snapshots; the image store's root must be on ext4, xfs, btrfs or tmpfs, not on an overlay "+
			"(as inside of a container without a volume): %w", errors.Join(reasons...))
}

func (d *Driver) try(how mounter, dir *sys.Dir, name string) (err error) {
	return d.tryAttachment(dir, name, nil, func(a *attachment) error {
		m, err := d.mount(how, a, 0)
		if err != nil {
			return err
		}
		return errors.Join(use(m), m.Close())
	})
}

// tryAttachment makes what an overlay needs in a new folder.
func (d *Driver) tryAttachment(dir *sys.Dir, name string, users *os.File, mount func(*attachment) error) (err error) {
	if err := dir.Mkdir(name, 0o700); err != nil {
		return err
	}
	base, err := dir.OpenDir(name)
	if err != nil {
		return err
	}
	a := &attachment{name: "probe", users: users}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(base.Close)
	cu.Add(a.close)
	a.lower = make([]*sys.Dir, 1)
	for _, f := range []struct {
		name string
		dir  **sys.Dir
	}{{"lower", &a.lower[0]}, {"upper", &a.upper}, {"work", &a.work}} {
		if err := base.Mkdir(f.name, 0o755); err != nil {
			return err
		}
		if *f.dir, err = base.OpenDir(f.name); err != nil {
			return err
		}
	}
	if err := touch(a.lower[0], "old"); err != nil {
		return err
	}
	return mount(a)
}

func touch(d *sys.Dir, name string) error {
	f, err := d.Create(name, 0o644)
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	return f.Close()
}

func use(m *os.File) (err error) {
	root, err := sys.DirOf(m)
	if err != nil {
		return fmt.Errorf("open the overlay: %w", err)
	}
	if err = touch(root, "new"); err == nil {
		err = root.Unlink("old")
	}
	if err == nil {
		if _, still := root.Lstat("old"); !errors.Is(still, syscall.ENOENT) {
			err = fmt.Errorf("remove a file of a lower folder: it still shows (%w)", still)
		}
	}
	return errors.Join(err, root.Close())
}
