package pod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// store keeps records: DIR/KIND/ID/FILE. It has no lock; each record has one writer at a time (see lane).
type store struct{ dir string }

// kind is a kind of record: the folder that holds a folder for each, and the name of the file in it.
type kind struct{ folder, file string }

func podKind() kind       { return kind{folder: "pods", file: "pod.json"} }
func containerKind() kind { return kind{folder: "containers", file: "container.json"} }

func (s store) path(k kind, id string) string { return filepath.Join(s.dir, k.folder, id, k.file) }

// save replaces a record, making its folder if need be. It does not wait for a disk: pods don't outlive a reboot.
func (s store) save(k kind, id string, record any) error {
	data, err := encodeRecord(record)
	if err != nil {
		return err
	}
	// Others than root may pass through the folder: it holds files that are mounted into containers.
	if err := os.MkdirAll(filepath.Dir(s.path(k, id)), 0o700); err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	if err := atomicfile.Write(s.path(k, id), data, 0o600); err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	return nil
}

// load reads a record, which may be of any content.
func (s store) load(k kind, id string) ([]byte, error) {
	f, err := os.OpenFile(s.path(k, id), os.O_RDONLY|nofollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("load record: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("load record: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("load record: %w", err)
	}
	return data, nil
}

// remove deletes a record with its folder and what is in there. It must not be called while something is mounted below.
func (s store) remove(k kind, id string) error {
	dir := filepath.Dir(s.path(k, id))
	// The record goes last: a folder without one is taken for garbage, but one with it is still a pod to clean up.
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if e.Name() != k.file {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove record of %s: %w", id, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove record of %s: %w", id, err)
	}
	return nil
}

// list returns the IDs that have a folder.
func (s store) list(k kind) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, k.folder))
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if validID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// quarantine takes a record that can't be read out of the way, to STATE/bad/ID.FILE, for a person to look at.
func (s store) quarantine(k kind, id string) (string, error) {
	dir := filepath.Join(s.dir, "bad")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("quarantine record: %w", err)
	}
	to := filepath.Join(dir, id+"."+k.file+".bad")
	if err := os.Rename(s.path(k, id), to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("quarantine record: %w", err)
	}
	return to, nil
}
