package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
)

// The files in a container's folder.
const (
	recordFile = "state.json"
	configFile = "config.json"
	startFile  = "start" // FIFO: the created process reads a byte from it
	tellFile   = "tell"  // FIFO: it writes there what went wrong after that
)

// container is one container's folder, with its record.
type container struct {
	dir  string
	rec  record
	lock *sys.Dir // the folder, locked; nil if it is not

	// What the call that made the container knows already, so that it need not ask again.
	host   *cgroup.Host // the caller's; nil: unknown
	config *specs.Spec  // nil: to be read
}

func (c *container) file(name string) string { return filepath.Join(c.dir, name) }

func (r *Runtime) folder(id string) string { return filepath.Join(r.cfg.Root, id) }

func missing(id string) error { return errdefs.NotFound("container %q does not exist", id) }

// reserve makes the folder, locked, with a record and the configuration in it.
func (r *Runtime) reserve(rec record, config []byte) (_ *container, err error) {
	if err := os.MkdirAll(r.cfg.Root, 0o711); err != nil {
		return nil, err
	}
	c := &container{dir: r.folder(rec.ID), rec: rec}
	if err := os.Mkdir(c.dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, errdefs.Exists("container with id exists: %s", rec.ID)
	} else if err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(c.remove)
	if err := c.take(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.file(configFile), config, 0o600); err != nil {
		return nil, err
	}
	if err := c.save(); err != nil {
		return nil, err
	}
	cu.Release()
	return c, nil
}

// load reads a container's record.
func (r *Runtime) load(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	c := &container{dir: r.folder(id)}
	data, err := sys.ReadRegular(c.file(recordFile), maxRecord)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, missing(id)
	}
	if err == nil {
		c.rec, err = decodeRecord(data, id)
	}
	if err != nil {
		return nil, fmt.Errorf("read record of container %s: %w", id, err)
	}
	return c, nil
}

// hold is load with the container's lock, for those who change it. The caller must call release.
func (r *Runtime) hold(id string) (*container, error) {
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	if err := c.take(); err != nil {
		return nil, err
	}
	locked, err := r.load(id) // what was true may not be any more
	if err != nil {
		return nil, errors.Join(err, c.release())
	}
	c.rec = locked.rec
	return c, nil
}

// take waits for the lock.
func (c *container) take() error {
	d, err := sys.OpenDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(filepath.Base(c.dir))
	}
	if err != nil {
		return err
	}
	if err := d.LockWait(); err != nil {
		return errors.Join(fmt.Errorf("lock container %s: %w", filepath.Base(c.dir), err), d.Close())
	}
	c.lock = d
	return nil
}

func (c *container) release() error {
	d := c.lock
	c.lock = nil
	if d == nil {
		return nil
	}
	return d.Close()
}

// unlock gives the lock away for a while, until relock.
func (c *container) unlock() error { return c.lock.Unlock() }

// relock waits for the lock again. ErrNotFound if the container was deleted meanwhile.
func (c *container) relock() error {
	if err := c.lock.LockWait(); err != nil {
		return fmt.Errorf("lock container %s: %w", c.rec.ID, err)
	}
	there, err := c.lock.IsAt(c.dir)
	if err == nil && !there {
		err = missing(c.rec.ID)
	}
	return err
}

func (c *container) save() error {
	data, err := encodeRecord(c.rec)
	if err != nil {
		return err
	}
	return atomicfile.Write(c.file(recordFile), data, 0o600)
}

// remove deletes the folder. The record goes last, so that a removal that was killed can be repeated.
func (c *container) remove() error {
	for _, name := range []string{startFile, tellFile, configFile, recordFile} {
		if err := syscall.Unlink(c.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", c.file(name), err)
		}
	}
	err := syscall.Rmdir(c.dir)
	if errors.Is(err, syscall.ENOTEMPTY) { // what a killed write has left
		err = os.RemoveAll(c.dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, c.release())
}

// spec returns the configuration as it was at create.
func (c *container) spec() (*specs.Spec, error) {
	if c.config != nil {
		return c.config, nil
	}
	data, err := sys.ReadRegular(c.file(configFile), maxConfig)
	if err != nil {
		return nil, fmt.Errorf("read configuration of container %s: %w", c.rec.ID, err)
	}
	return decodeSpec(data, c.rec.Bundle)
}
