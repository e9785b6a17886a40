package pod

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// Subtree returns a mount of what is below a path inside a detached mount, whose links never lead out of it. The mount it
// was given is of no use afterwards, and is still the caller's to close.
func (linux) Subtree(mount *os.File, path string) (*os.File, error) {
	tree, err := cloneBelow(mount, path)
	if errors.Is(err, syscall.EINVAL) {
		return subtreeInNamespace(mount, path)
	}
	return tree, err
}

func cloneBelow(mount *os.File, path string) (*os.File, error) {
	place, err := rootfs.Open(mount, path)
	if err != nil {
		return nil, err
	}
	tree, err := sys.OpenTree(place, "", false)
	if err := errors.Join(err, place.Close()); err != nil {
		if tree != nil {
			err = errors.Join(err, tree.Close())
		}
		return nil, fmt.Errorf("clone the mount at %s: %w", path, err)
	}
	return tree, nil
}

// subtreeInNamespace is for kernels before 6.15, which clone only what is attached: it attaches the mount in a mount
// namespace that nobody else sees, and that ends with this call.
func subtreeInNamespace(mount *os.File, path string) (tree *os.File, err error) {
	err = sys.InMountNamespace(func() error {
		tree, err = attachAndClone(mount, path)
		return err
	})
	return tree, err
}

func attachAndClone(mount *os.File, path string) (_ *os.File, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	at, err := os.Open("/") // any folder will do to attach to, and this one is everywhere
	if err != nil {
		return nil, err
	}
	cu.Add(at.Close)
	if err := sys.MoveMount(mount, at); err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	return cloneBelow(mount, path)
}
