package prepare

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/plan"
)

// mounts opens the detached mounts and finds or makes all mount points, in the order of the plan: a later mount may be on
// a folder of an earlier one.
func (pr *Prepared) mounts() error {
	for i, m := range pr.plan.Mounts {
		if err := pr.mount(i, m); err != nil {
			return fmt.Errorf("mount %s on %s: %w", source(m), m.Destination, err)
		}
	}
	return nil
}

func source(m plan.Mount) string {
	if m.FSType != "" {
		return m.FSType
	}
	if m.Prepared {
		return "given mount"
	}
	return m.Source
}

func (pr *Prepared) mount(i int, m plan.Mount) (err error) {
	switch {
	case m.Remount:
		pr.Files.Places[i], err = pr.tree.Find(m.Destination)
		return err
	case m.CopyUp:
		return pr.copyUp(i, m)
	}
	dir := m.Node == nil
	if m.FSType == "" && dir {
		if dir, err = pr.detached(i, m); err != nil {
			return err
		}
	}
	place, err := pr.tree.Make(m.Destination, dir)
	if err != nil {
		return err
	}
	// The container's init, and every tool in it, takes what is at these paths for the kernel's word. So it does with what
	// is in them, over which an image could lead a volume (CVE-2023-28642).
	if place.Path != m.Destination && (place.Kernel || m.FSType == "proc" || m.FSType == "sysfs" || m.Destination == "/dev") {
		return errdefs.Invalid("%s is a link to %s in the image", m.Destination, place.Path)
	}
	place.Dir = dir
	pr.Files.Places[i] = place
	switch {
	case pr.Files.Mounts[i] != nil:
		return pr.tree.Mount(place.Path, pr.Files.Mounts[i], pr.ownerIn(m))
	case m.Node != nil:
		pr.tree.MountFile(place.Path)
	case m.Fresh():
		pr.tree.MountFresh(place.Path)
	default:
		pr.tree.MountKernel(place.Path)
	}
	return nil
}

// detached opens the mount of a volume and gives it its attributes. It tells whether it is a folder.
func (pr *Prepared) detached(i int, m plan.Mount) (dir bool, err error) {
	f := pr.opts.Mounts[m.Destination]
	delete(pr.opts.Mounts, m.Destination)
	if f == nil {
		if f, err = pr.openSource(i, m); err != nil {
			return false, err
		}
	}
	pr.Files.Mounts[i] = f
	if err := setAttributes(f, m); err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}

// openSource copies the mount of a host path. The path is the host's, and opened once. One that the host's later mounts
// are to show up in is copied anew at the start, as they don't reach a copy that is not attached yet.
func (pr *Prepared) openSource(i int, m plan.Mount) (*os.File, error) {
	src, err := sys.Openat2(nil, m.Source, sys.OPath, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.Source, err)
	}
	f, err := copySource(src, m)
	if m.Propagation == syscall.MS_PRIVATE || m.Propagation == syscall.MS_UNBINDABLE || err != nil {
		return f, errors.Join(err, src.Close())
	}
	pr.late = append(pr.late, lateMount{index: i, source: src, mount: m})
	return f, nil
}

func copySource(src *os.File, m plan.Mount) (*os.File, error) {
	if err := checkPropagation(src, m); err != nil {
		return nil, err
	}
	f, err := sys.OpenTree(src, "", m.Recursive)
	if err != nil {
		return nil, fmt.Errorf("copy the mount of %s: %w", m.Source, err)
	}
	return f, nil
}

// lateMount is a mount to copy again at the start.
type lateMount struct {
	index  int
	source *os.File // O_PATH: the place, whatever its name is by then
	mount  plan.Mount
}

// refresh puts a new copy into the files.
func (l lateMount) refresh(files *plan.Files) error {
	f, err := copySource(l.source, l.mount)
	if err != nil {
		return err
	}
	old := files.Mounts[l.index]
	files.Mounts[l.index] = f
	return errors.Join(setAttributes(f, l.mount), old.Close())
}

func setAttributes(f *os.File, m plan.Mount) error {
	for _, c := range []struct {
		attr      sys.MountAttr
		recursive bool
	}{
		{sys.MountAttr{Propagation: m.Propagation}, true},
		{sys.MountAttr{Set: m.Set, Clear: m.Clear}, false},
		{sys.MountAttr{Set: m.RecursiveSet, Clear: m.RecursiveClear}, true},
	} {
		if c.attr == (sys.MountAttr{}) {
			continue
		}
		if err := sys.MountSetattr(f, c.attr, c.recursive); err != nil {
			return fmt.Errorf("set attributes %+v: %w", c.attr, err)
		}
	}
	return nil
}

// checkPropagation refuses a propagation that could not work, as mounts of a private source go nowhere.
func checkPropagation(src *os.File, m plan.Mount) error {
	if m.Propagation != syscall.MS_SHARED && m.Propagation != syscall.MS_SLAVE {
		return nil
	}
	id, err := sys.MountID(src)
	if err != nil {
		return fmt.Errorf("find the mount of %s: %w", m.Source, err)
	}
	shared, slave, err := propagationOf(id)
	switch {
	case err != nil:
		return err
	case m.Propagation == syscall.MS_SHARED && !shared:
		return errdefs.FailedPrecondition("mounts made in the container are to show up in %s, but it is not on a shared mount; make it one (mount --make-shared)", m.Source)
	case m.Propagation == syscall.MS_SLAVE && !shared && !slave:
		return errdefs.FailedPrecondition("mounts made in %s are to show up in the container, but it is on a private mount; make it shared (mount --make-shared)", m.Source)
	}
	return nil
}

const maxMountinfo = 64 << 20

// propagationOf looks up a mount of this mount namespace.
func propagationOf(id uint64) (shared, slave bool, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false, false, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxMountinfo))
	if err := errors.Join(err, f.Close()); err != nil {
		return false, false, fmt.Errorf("read mounts: %w", err)
	}
	prefix := fmt.Sprintf("%d ", id)
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		optional, _, _ := strings.Cut(line, " - ")
		return strings.Contains(optional, " shared:"), strings.Contains(optional, " master:"), nil
	}
	return false, false, errdefs.NotFound("mount %d is not in /proc/self/mountinfo", id)
}

func joinClose(err error, f *os.File) error { return errors.Join(err, f.Close()) }
