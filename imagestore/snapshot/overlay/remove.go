package overlay

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

// removeTree deletes name in d and everything below it. It follows no link and enters no other file system; what is
// gone already is fine. A container may have set attributes that forbid deletion (chattr +i, +a); they are taken off.
func removeTree(d *sys.Dir, name string) error {
	err := d.Unlink(name)
	switch {
	case err == nil || errors.Is(err, syscall.ENOENT):
		return nil
	case errors.Is(err, syscall.EPERM):
		return removeStubborn(d, name)
	case !errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("remove %.200q: %w", name, err)
	}
	return removeFolder(d, name)
}

func removeFolder(d *sys.Dir, name string) error {
	// A folder of few things is removed without a listing: rmdir tells.
	err := d.Rmdir(name)
	switch {
	case err == nil || errors.Is(err, syscall.ENOENT):
		return nil
	case errors.Is(err, syscall.EPERM):
		return removeStubborn(d, name)
	case !errors.Is(err, syscall.ENOTEMPTY):
		return fmt.Errorf("remove folder %.200q: %w", name, err)
	}
	c, err := d.OpenDirBeneathSameFS(name)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open folder %.200q to remove it: %w", name, err)
	}
	if err := errors.Join(removeContent(c), c.Close()); err != nil {
		return err
	}
	if err := d.Rmdir(name); err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("remove folder %.200q: %w", name, err)
	}
	return nil
}

// removeContent empties a folder.
func removeContent(c *sys.Dir) error {
	entries, err := c.Entries()
	if err != nil {
		return fmt.Errorf("list folder to remove it: %w", err)
	}
	for _, e := range entries {
		remove := removeTree
		if e.IsDir() {
			remove = removeFolder
		}
		if err := remove(c, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// removeStubborn takes off what forbids changes, from the folder and from the name, and tries again, once.
func removeStubborn(d *sys.Dir, name string) error {
	if err := errors.Join(d.ClearImmutable("."), d.ClearImmutable(name)); err != nil {
		return fmt.Errorf("remove %.200q: it is immutable: %w", name, err)
	}
	st, err := d.Lstat(name)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		var c *sys.Dir
		if c, err = d.OpenDirBeneathSameFS(name); err == nil {
			err = errors.Join(removeContent(c), c.Close())
		}
		if err == nil {
			err = d.Rmdir(name)
		}
	} else if err == nil {
		err = d.Unlink(name)
	}
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("remove %.200q: %w", name, err)
	}
	return nil
}
