package prepare

import (
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// copyUp makes a tmpfs with what the root has at its place.
func (pr *Prepared) copyUp(i int, m plan.Mount) error {
	place, err := pr.tree.Make(m.Destination, true)
	if err != nil {
		return err
	}
	place.Dir = true
	pr.Files.Places[i] = place
	mount, err := mountHere(m, pr.plan.User)
	if err != nil {
		return err
	}
	pr.Files.Mounts[i] = mount
	if err := pr.fillFrom(place, mount); err != nil {
		return fmt.Errorf("copy what is there: %w", err)
	}
	return pr.tree.Mount(place.Path, mount, pr.owner())
}

// fillFrom copies a folder of the root; one in a file system that is still to be made is empty.
func (pr *Prepared) fillFrom(place rootfs.Place, mount *os.File) (err error) {
	source, err := pr.tree.Open(place)
	if source == nil || err != nil {
		return err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(source.Close)
	from, err := sys.DirOf(source)
	if err != nil {
		return err
	}
	cu.Add(from.Close)
	to, err := sys.DirOf(mount)
	if err != nil {
		return err
	}
	cu.Add(to.Close)
	return rootfs.CopyFolder(from, to)
}

// mountHere makes a file system as the host's root, to whom the owners in its options have other numbers.
func mountHere(m plan.Mount, u *plan.User) (_ *os.File, err error) {
	fs, err := sys.Fsopen(m.FSType)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	for _, p := range m.Params {
		if p, err = hostParam(p, u); err != nil {
			return nil, err
		}
		if p.Value == nil {
			err = fs.SetFlag(p.Key)
		} else {
			err = fs.SetString(p.Key, *p.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("option %s: %w %s", p, err, fs.Messages())
		}
	}
	return fs.Mount(m.FSType, int(m.Set))
}
