package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Remove takes away what [Create] made in a folder, the folder included. It is idempotent and finishes half-made folders.
// Processes that still run in the namespaces keep them; links inside go away with the last of them.
func Remove(ctx context.Context, dir string) error {
	if !filepath.IsAbs(dir) {
		return errdefs.Invalid("remove namespaces: folder %q is not an absolute path", dir)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove namespaces in %s: %w", dir, err)
	}
	var errs []error
	for _, ns := range allNamespaces() {
		errs = append(errs, removePin(dir, ns.name))
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("remove folder of namespaces: %w", err))
	}
	return errors.Join(errs...)
}

// removePin unmounts and unlinks one pin, and says nothing about one that does not exist.
func removePin(dir, name string) error {
	path := filepath.Join(dir, name)
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if errors.Is(err, unix.EINVAL) { // no mount is left on it
			break
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove pin: %w", err)
	}
	return nil
}
