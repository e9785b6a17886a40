package resctrl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Group is a container's place in resctrl. A nil one is of a container that has none.
type Group struct {
	fs    *FS
	id    string // the container's
	class string // path of the class of service, "" for the default one
	own   bool   // the class is the container's own
	mon   bool
}

const maxSchemata = 1 << 20

// Group names the place that a container has, without looking whether it is there.
func (s *FS) Group(id string, c Config) *Group {
	g := &Group{fs: s, id: id, class: c.ClosID, mon: c.Monitoring}
	switch c.ClosID {
	case "":
		g.class, g.own = id, true
	case "/":
		g.class = ""
	}
	return g
}

// Create makes what is missing of a container's place. A class of service that is there already must be as the container
// asks (ErrFailedPrecondition), and one that it asks nothing of must be there (ErrNotFound). After an error nothing that
// was made here is left.
func (s *FS) Create(id string, c Config) (_ *Group, err error) {
	g := s.Group(id, c)
	if err := CheckClosID(g.class); err != nil { // the container's own name, unless the config was checked for nothing
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	made, err := g.makeClass(c)
	if err != nil {
		return nil, err
	}
	if made {
		cu.Add(func() error { return g.remove("", g.class) })
	}
	switch {
	case made || g.own:
		err = g.write(c.Schemata)
	default:
		err = g.compare(c.Schemata)
	}
	if err != nil {
		return nil, err
	}
	if g.mon {
		if err := g.mkdir(path.Join(g.class, "mon_groups"), g.id); err != nil {
			return nil, fmt.Errorf("make monitoring group %s: %w", g.id, err)
		}
	}
	cu.Release()
	return g, nil
}

// makeClass makes the class of service where it is to be made, and tells whether it was.
func (g *Group) makeClass(c Config) (made bool, err error) {
	if g.class == "" {
		return false, nil
	}
	if !g.own && len(c.Schemata) == 0 {
		err := g.fs.in(g.class, func(*sys.Dir) error { return nil })
		if errors.Is(err, fs.ErrNotExist) {
			return false, errdefs.NotFound("class of service %s does not exist, and nothing is said about what it should be", g.class)
		}
		return false, err
	}
	err = g.fs.in("", func(d *sys.Dir) error { return g.fs.mkdir(d, g.class) })
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("make class of service %s: %w", g.class, err)
	}
	return true, nil
}

func (g *Group) mkdir(dir, name string) error {
	err := g.fs.in(dir, func(d *sys.Dir) error { return g.fs.mkdir(d, name) })
	if errors.Is(err, fs.ErrExist) { // of a former container of this ID, that was not deleted
		return nil
	}
	return err
}

func (g *Group) write(schemata []string) error {
	for _, line := range schemata {
		err := g.fs.in(g.class, func(d *sys.Dir) error { return d.WriteFile("schemata", line+"\n") })
		if err != nil {
			return fmt.Errorf("write %q to class of service %s: %w", line, g.class, err)
		}
	}
	return nil
}

// Update changes what a container's class of service may use, and with it what the others in that class may. Where a later
// line is refused, those before it are taken back, as undo does. A container that has no class, or the default one, which
// is the whole machine's, is ErrFailedPrecondition.
func (g *Group) Update(schemata []string) (undo func() error, err error) {
	if g == nil || g.class == "" {
		return nil, errdefs.FailedPrecondition("the container has no class of service but the machine's default one")
	}
	var old []string
	err = g.fs.in(g.class, func(d *sys.Dir) error {
		data, err := d.ReadFile("schemata", maxSchemata)
		for line := range strings.Lines(string(data)) {
			if resource := resourceOf(line); slices.ContainsFunc(schemata, func(s string) bool { return resourceOf(s) == resource }) {
				old = append(old, strings.TrimSpace(line))
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read class of service %s: %w", g.class, err)
	}
	undo = func() error { return g.write(old) }
	if err := g.write(schemata); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

func (g *Group) compare(schemata []string) error {
	if len(schemata) == 0 {
		return nil
	}
	return g.fs.in(g.class, func(d *sys.Dir) error {
		have, err := d.ReadFile("schemata", maxSchemata)
		if err != nil {
			return err
		}
		for _, line := range schemata {
			ok, err := agrees(string(have), line)
			if err != nil {
				return err
			}
			if !ok {
				return errdefs.FailedPrecondition("class of service %q exists with %q, which is not %q", g.class, have, line)
			}
		}
		return nil
	})
}

// JoinFiles opens the files that a process writes "0" to in order to join. The caller closes them.
func (g *Group) JoinFiles() (files []*os.File, err error) {
	if g == nil {
		return nil, nil
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	dirs := []string{g.class}
	if g.mon { // a process can be in a monitoring group of its class only, so the class comes first
		dirs = append(dirs, path.Join(g.class, "mon_groups", g.id))
	}
	for _, dir := range dirs {
		err := g.fs.in(dir, func(d *sys.Dir) error {
			f, err := d.Open("tasks", syscall.O_WRONLY, 0)
			if err == nil {
				files = append(files, f)
				cu.Add(f.Close)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("join group %q of resctrl: %w", dir, err)
		}
	}
	cu.Release()
	return files, nil
}

// Remove removes what is the container's own; it is idempotent. A class of service that has a name stays.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	if g.mon {
		errs = append(errs, g.remove(path.Join(g.class, "mon_groups"), g.id))
	}
	if g.own {
		errs = append(errs, g.remove("", g.class))
	}
	return errors.Join(errs...)
}

func (g *Group) remove(dir, name string) error {
	err := g.fs.in(dir, func(d *sys.Dir) error { return g.fs.rmdir(d, name) })
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("remove group %s of resctrl: %w", path.Join(dir, name), err)
}
