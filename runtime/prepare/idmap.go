package prepare

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/rootfs"
	"github.com/berth-runtime/berth/runtime/userns"
)

// madeMapping is a user namespace that stands for mappings; nothing ever runs in it.
type madeMapping struct {
	mappings userns.Mappings
	users    *os.File
}

// idmaps maps the owners of mounts. It comes last: through a mapped mount the host's root could make no mount points.
func (pr *Prepared) idmaps() error {
	for i, m := range pr.plan.Mounts {
		if err := pr.idmap(i, m); err != nil {
			return fmt.Errorf("mount %s on %s: %w", source(m), m.Destination, err)
		}
	}
	return nil
}

func (pr *Prepared) idmap(i int, m plan.Mount) error {
	if m.IDMap == nil {
		return nil
	}
	users, err := pr.mapping(m.IDMap.Mappings)
	if err != nil {
		return err
	}
	err = sys.MountIDMap(pr.Files.Mounts[i], users, m.IDMap.Recursive)
	switch {
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EOPNOTSUPP):
		return errdefs.NotSupported("idmap: the file system of %s has no ID-mapped mounts on this kernel, or is mapped already (mount_setattr(2)): %w", source(m), err)
	case err != nil:
		return fmt.Errorf("idmap: %w", err)
	}
	return nil
}

// mapping returns a user namespace with the mappings: the container's own if it has the same.
func (pr *Prepared) mapping(m *userns.Mappings) (*os.File, error) {
	if u := pr.plan.User; m == nil || u != nil && u.Mappings.Equal(*m) {
		return pr.Files.User, nil
	}
	for _, made := range pr.mappings {
		if made.mappings.Equal(*m) {
			return made.users, nil
		}
	}
	made, err := userns.Make(*m, userns.Kinds{})
	if err != nil {
		return nil, err
	}
	pr.mappings = append(pr.mappings, madeMapping{*m, made.User})
	return made.User, nil
}

// ownerIn is who shall own mount points in a mount, on its disk. Of a mapped one that is root, as everywhere.
func (pr *Prepared) ownerIn(m plan.Mount) rootfs.Owner {
	if m.IDMap != nil {
		return rootfs.Owner{}
	}
	return pr.owner()
}
