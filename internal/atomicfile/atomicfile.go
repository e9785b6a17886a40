// Package atomicfile replaces files so that a reader, or a restart, sees the old content or the new, never half of one.
package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-runtime/berth/internal/cleanup"
)

// Write replaces path by a rename. It does not wait for the disk: right for state that does not outlive a reboot.
func Write(path string, data []byte, perm fs.FileMode) error { return write(path, data, perm, false) }

// WriteSync is [Write] that survives a power cut: the file and its folder are on the disk when it returns.
func WriteSync(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, true)
}

func write(path string, data []byte, perm fs.FileMode, sync bool) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return os.Remove(f.Name()) })
	if err := fill(f, data, perm, sync); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	cu.Release()
	if sync {
		return SyncDir(dir)
	}
	return nil
}

func fill(f *os.File, data []byte, perm fs.FileMode, sync bool) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(d.Close)
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}
