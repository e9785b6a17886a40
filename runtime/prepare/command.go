package prepare

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// FindCommand refuses a command that does not exist in the root, for those who make a container long before they start it.
// It does not look into file systems that are still to be made, nor whether the file can be executed: execve says that.
func (pr *Prepared) FindCommand() error {
	p := pr.plan.Process
	for _, file := range p.Paths {
		if !path.IsAbs(file) {
			return nil // depends on the working directory
		}
		place, err := pr.tree.Find(file)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		case err != nil:
			return err
		case place.Exists, place.Kernel, place.Fresh != "":
			return nil
		}
	}
	if strings.Contains(p.Args[0], "/") {
		return errdefs.New(errdefs.ErrNotFound, "execute %s: %w", p.Args[0], syscall.ENOENT)
	}
	return errdefs.New(errdefs.ErrNotFound, "find command %q in the container's PATH: %w", p.Args[0], syscall.ENOENT)
}
