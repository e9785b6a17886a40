package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Bound of the search in a log's folder: rotated logs are a handful.
const maxNeighbours = 1024

// Find opens the log with the given identity: the file at path, or one that a rotation has renamed in the same folder.
// The error is of kind errdefs.ErrNotFound if it is neither.
func Find(path string, id Identity) (*File, error) {
	dir, base := filepath.Split(path)
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("look for log: %w", err)
	}
	entries, readErr := d.ReadDir(maxNeighbours)
	if err := d.Close(); err != nil {
		readErr = errors.Join(readErr, err)
	}
	names := []string{base}
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != base {
			names = append(names, e.Name())
		}
	}
	for _, name := range names {
		full := filepath.Join(dir, name)
		var st syscall.Stat_t
		if err := syscall.Lstat(full, &st); err != nil || (Identity{st.Dev, st.Ino}) != id {
			continue // a name that vanished is not the one
		}
		return openExisting(full, id)
	}
	return nil, errors.Join(errdefs.NotFound("log %s has been renamed or removed", path), readErr)
}

func openExisting(path string, id Identity) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	st, err := stat(f)
	if err == nil && (Identity{st.Dev, st.Ino}) != id {
		err = errdefs.NotFound("log %s has been replaced", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{f: f, path: path, id: id}, nil
}
