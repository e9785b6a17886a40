package overlay

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

// makePlaces makes the files that are missing. Those of an earlier configuration stay: snapshots may be mounted over them.
func (d *Driver) makePlaces(paths []string) error {
	for _, path := range paths {
		if err := makePlace(d.places, path); err != nil {
			return fmt.Errorf("make place %s: %w", path, err)
		}
	}
	return nil
}

func makePlace(in *sys.Dir, path string) error {
	name, rest, deeper := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !deeper {
		f, err := in.Open(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, syscall.EEXIST) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Chmod(0o644), f.Close())
	}
	err := in.Mkdir(name, 0o755)
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return err
	}
	made := err == nil
	dir, err := in.OpenDir(name)
	if err != nil {
		return err
	}
	if made { // whatever the umask
		err = dir.Chmod(0o755)
	}
	if err == nil {
		err = makePlace(dir, rest)
	}
	return errors.Join(err, dir.Close())
}
