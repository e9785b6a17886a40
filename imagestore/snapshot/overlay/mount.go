package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// mounter is a way to give overlayfs its folders. Which one works is found out at Open.
type mounter string

const (
	byFile mounter = "fd"     // fsconfig(FSCONFIG_SET_FD): Linux 6.13
	byPath mounter = "path"   // fsconfig with "lowerdir+" for each: 6.7
	byCall mounter = "legacy" // mount(2) and a copy of the mount, for older kernels: no fsconfig string may pass 255 bytes
)

// attachment is one overlay: the folders it is made of, topmost lower first. Without upper it is read-only.
type attachment struct {
	lower       []*sys.Dir
	upper, work *sys.Dir
	name        string

	label  string     // SELinux context of all files; "": their own
	users  *os.File   // user namespace whose owners the lower folders show; nil: as they are
	mapped []*os.File // mounts of them that do
	tmp    *sys.Dir   // the folder for temporary mounts, as seen from the thread's mount namespace; nil: the driver's
}

func (a *attachment) close() error {
	var errs []error
	for _, d := range append(a.lower, a.upper, a.work) {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	for _, m := range a.mapped {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// openLower opens layers as lower folders.
func (a *attachment) openLower(d *Driver, lower []digest.Digest) error {
	for _, l := range lower {
		dir, err := d.openLayer(l)
		if err != nil {
			return err
		}
		a.lower = append(a.lower, dir)
	}
	return nil
}

// add makes a folder of the store's own the lowest one.
func (a *attachment) add(d *Driver, name string) error {
	dir, err := d.root.OpenDir(name)
	if err != nil {
		return fmt.Errorf("open folder %s: %w", name, err)
	}
	a.lower = append(a.lower, dir)
	return nil
}

// Mount mounts a snapshot, writable, with "volatile": what is written is not forced to the disk at unmount, which is
// right for what does not outlive a reboot. The mount allows set-user-ID programs and device nodes, as a container's root
// has to; the container's device rules guard the latter.
func (d *Driver) Mount(_ context.Context, key string, as snapshot.As) (_ *os.File, err error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	info, err := d.readSnapshot(key)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	if info.Boot != d.boot {
		return nil, errdefs.FailedPrecondition("mount snapshot %s: it was made before the last reboot, which may have cut what was written to it; discard it", key)
	}
	a := &attachment{name: key, users: as.Users, label: as.Label}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(a.close)
	if err := a.openLower(d, info.Lower); err != nil {
		return nil, fmt.Errorf("mount snapshot %s: %w", key, err)
	}
	if err := a.add(d, "places"); err != nil {
		return nil, fmt.Errorf("mount snapshot %s: %w", key, err)
	}
	if a.upper, err = d.snapshots.OpenDirBeneath(key + "/upper"); err != nil {
		return nil, fmt.Errorf("mount snapshot %s: open folder upper: %w", key, err)
	}
	if a.work, err = d.snapshots.OpenDirBeneath(key + "/work"); err != nil {
		return nil, fmt.Errorf("mount snapshot %s: open folder work: %w", key, err)
	}
	if err := clearVolatile(a.work); err != nil {
		return nil, fmt.Errorf("mount snapshot %s: %w", key, err)
	}
	m, err := d.mountMapped(a, 0)
	if err != nil {
		return nil, fmt.Errorf("mount snapshot %s: %w", key, err)
	}
	return m, nil
}

// clearVolatile removes the mark that a volatile mount leaves (overlayfs.rst, "Volatile mount"). It keeps anybody from
// mounting the folders again after a crash of the system. Here nobody does: a snapshot of an earlier boot was refused before,
// and within one boot nothing is lost.
func clearVolatile(work *sys.Dir) error {
	in, err := work.OpenDirBeneath("work/incompat")
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open work/incompat: %w", err)
	}
	return errors.Join(removeTree(in, "volatile"), in.Close())
}

// View mounts layers read-only, without set-user-ID programs and devices. A single layer is shown as it is, without
// overlayfs over it, unless it holds whiteouts or is to have a label.
func (d *Driver) View(_ context.Context, layers []digest.Digest, as snapshot.As) (_ *os.File, err error) {
	s, err := d.stack(layers)
	if err != nil {
		return nil, fmt.Errorf("view layers: %w", err)
	}
	a := &attachment{name: "view", users: as.Users, label: as.Label}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(a.close)
	if err := a.openLower(d, s.lower); err != nil {
		return nil, fmt.Errorf("view layers: %w", err)
	}
	single := len(a.lower) <= 1 && !s.whiteouts && as.Label == ""
	if len(a.lower) == 0 || (len(a.lower) == 1 && !single) { // overlayfs wants two where there is no upper
		if err := a.add(d, "empty"); err != nil {
			return nil, fmt.Errorf("view layers: %w", err)
		}
	}
	const attr = sys.MountRdonly | sys.MountNodev | sys.MountNosuid
	var m *os.File
	if single {
		m, err = show(a.lower[0], attr, as.Users)
	} else {
		m, err = d.mountMapped(a, attr)
	}
	if err != nil {
		return nil, fmt.Errorf("view layers: %w", err)
	}
	return m, nil
}

// show returns a detached bind mount of a folder, with the owners of a user namespace unless that is nil.
func show(dir *sys.Dir, attr uint64, users *os.File) (_ *os.File, err error) {
	f, err := dir.File("layer")
	if err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	m, err := sys.OpenTree(f, "", false)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("copy the mount: %w", err)
	}
	cu.Add(m.Close)
	if err := sys.MountSetattr(m, sys.MountAttr{Set: attr}, false); err != nil {
		return nil, fmt.Errorf("make the mount read-only: %w", err)
	}
	if users != nil {
		if err := sys.MountIDMap(m, users, false); err != nil {
			return nil, mappingError(err)
		}
	}
	cu.Release()
	return m, nil
}

func (d *Driver) mount(how mounter, a *attachment, attr uint64) (*os.File, error) {
	if how == byCall {
		m, err := d.mountByCall(a, attr)
		if err != nil && m != nil { // mounted, but its traces in tmp would not go
			return nil, errors.Join(err, m.Close())
		}
		return m, err
	}
	c, err := sys.Fsopen("overlay")
	if err != nil {
		return nil, errdefs.New(errdefs.ErrNotSupported, "open overlayfs: %w", err)
	}
	m, err := configure(c, how, a, attr)
	if err != nil {
		if text := c.Messages(); text != "" {
			err = fmt.Errorf("%w (the kernel says: %s)", err, text)
		}
	}
	return m, errors.Join(err, c.Close())
}

func configure(c *sys.FSContext, how mounter, a *attachment, attr uint64) (*os.File, error) {
	set := func(key string, dir *sys.Dir) error {
		var err error
		if how == byFile {
			err = c.SetDir(key, dir)
		} else {
			err = c.SetString(key, dir.Path())
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", key, err)
		}
		return nil
	}
	if err := c.SetString("source", "overlay"); err != nil {
		return nil, fmt.Errorf("set source: %w", err)
	}
	for _, l := range a.lower {
		if err := set("lowerdir+", l); err != nil {
			return nil, err
		}
	}
	if a.upper != nil {
		if err := errors.Join(set("upperdir", a.upper), set("workdir", a.work)); err != nil {
			return nil, err
		}
		if err := c.SetFlag("volatile"); err != nil {
			return nil, fmt.Errorf("set volatile: %w", err)
		}
	}
	for _, feature := range features {
		if err := c.SetString(feature, "off"); err != nil {
			return nil, fmt.Errorf("set %s=off: %w", feature, err)
		}
	}
	if a.label != "" { // an option of all file systems, which SELinux takes
		if err := c.SetString("context", a.label); err != nil {
			return nil, fmt.Errorf("set context=%s: %w", a.label, err)
		}
	}
	m, err := c.Mount("overlay:"+a.name, int(attr))
	if err != nil {
		return nil, fmt.Errorf("make the overlay: %w", err)
	}
	return m, nil
}

// features are switched off whatever the kernel's default is: the index refuses folders that were moved, as a store may
// be, and metacopy leaves contents in lower layers that the accounting takes for written.
var features = [...]string{"index", "metacopy"}

// mountByCall mounts on a folder in tmp for a moment, copies the mount, and takes the first off.
func (d *Driver) mountByCall(a *attachment, attr uint64) (m *os.File, err error) {
	tmp := a.tmp
	if tmp == nil {
		tmp = d.tmp
	}
	temp, made, err := d.temp("mount")
	if err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err) // never released: nothing of this is to stay
	defer cu.Clean()
	cu.Add(func() error { return removeTree(d.tmp, temp) })
	cu.Add(made.Close)
	at, err := tmp.OpenDir(temp)
	if err != nil {
		return nil, err
	}
	cu.Add(at.Close)
	if err := sys.MountOverlay(at, a.options()); err != nil {
		return nil, fmt.Errorf("make the overlay: %w", err)
	}
	cu.Add(func() error { return tmp.UnmountAt(temp) })
	mounted, err := tmp.OpenDir(temp)
	if err != nil {
		return nil, err
	}
	cu.Add(mounted.Close)
	return show(mounted, attr, nil)
}

// options spells the attachment for mount(2). The paths are of fds, so that 128 layers fit into its one page.
func (a *attachment) options() string {
	paths := make([]string, len(a.lower))
	for i, l := range a.lower {
		paths[i] = l.Path()
	}
	o := []string{"lowerdir=" + strings.Join(paths, ":")}
	if a.upper != nil {
		o = append(o, "upperdir="+a.upper.Path(), "workdir="+a.work.Path(), "volatile")
	}
	for _, feature := range features {
		o = append(o, feature+"=off")
	}
	if a.label != "" { // in quotes, as levels have commas
		o = append(o, `context="`+a.label+`"`)
	}
	return strings.Join(o, ",")
}
