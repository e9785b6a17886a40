package stdio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/logs"
)

// Names of the FIFOs in a process's folder.
const (
	StdinName  = "stdin"
	StdoutName = "stdout"
	StderrName = "stderr"
)

// Owner is who may open the FIFOs.
type Owner struct{ UID, GID uint32 }

// Child is the process's side of its stdio: nil stands for /dev/null. The caller closes it when the process has it.
type Child [3]*os.File

// Close closes the files.
func (c Child) Close() error {
	var errs []error
	for _, f := range c {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// NewFIFOs makes the FIFOs and opens the log. What an earlier process left in the folder is replaced.
func NewFIFOs(shared *Shared, cfg Config, cursor *Cursor, owner Owner) (s *Stdio, child Child, err error) {
	s = newStdio(shared, cfg, cursor)
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := s.openLog(); err != nil {
		return nil, child, err
	}
	cu.Add(s.closeOwn)
	if err := makeDir(cfg.Dir); err != nil {
		return nil, child, err
	}
	cu.Add(func() error { return removeFiles(cfg.Dir) })
	cu.Add(func() error { return child.Close() })
	if child[1], err = s.makeOutput(&s.out[0], StdoutName, owner); err != nil {
		return nil, child, err
	}
	if child[2], err = s.makeOutput(&s.out[1], StderrName, owner); err != nil {
		return nil, child, err
	}
	if cfg.Stdin {
		if child[0], err = s.makeInput(owner); err != nil {
			return nil, child, err
		}
	}
	cu.Release()
	return s, child, nil
}

// NewTerminal takes over the master of a terminal, also on error.
func NewTerminal(shared *Shared, cfg Config, master sys.Raw) (_ *Stdio, err error) {
	s := newStdio(shared, cfg, nil)
	s.out[0].fd, s.in.fd = master, master
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(s.closeOwn)
	if err := s.openLog(); err != nil {
		return nil, err
	}
	if err := master.SetNonblock(true); err != nil {
		return nil, fmt.Errorf("terminal of %s: %w", cfg.ID, err)
	}
	cu.Release()
	return s, nil
}

// openLog opens the log anew. On error the one in use stays.
func (s *Stdio) openLog() error {
	if s.cfg.LogPath == "" {
		return nil
	}
	log, err := logs.Open(s.cfg.LogPath)
	if err != nil {
		return err
	}
	s.log = log
	return nil
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make stdio folder: %w", err)
	}
	return removeFIFOs(dir)
}

func removeFIFOs(dir string) error {
	var errs []error
	for _, name := range []string{StdinName, StdoutName, StderrName} {
		if err := os.Remove(dir + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove old stdio: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeFiles removes the FIFOs, and the folder if nothing else is in it. It is idempotent.
func removeFiles(dir string) error {
	if err := removeFIFOs(dir); err != nil {
		return err
	}
	err := os.Remove(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return err
}

// makeOutput makes a FIFO and opens both ends for reading and writing.
func (s *Stdio) makeOutput(o *output, name string, owner Owner) (*os.File, error) {
	path := s.cfg.Dir + "/" + name
	if err := sys.Mkfifo(path, owner.UID, owner.GID); err != nil {
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	if err := s.openOutput(o, name); err != nil {
		return nil, err
	}
	child, err := sys.RawOpen(path, syscall.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	return child.File(path), nil
}

func (s *Stdio) openOutput(o *output, name string) (err error) {
	path := s.cfg.Dir + "/" + name
	o.fd, err = sys.RawOpen(path, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOFOLLOW)
	if err != nil {
		o.fd = sys.NoFile
		return fmt.Errorf("open FIFO %s: %w", path, err)
	}
	return nil
}

// makeInput makes a FIFO whose reading end is the process's. It has an end, unlike output: when the last writer closes.
func (s *Stdio) makeInput(owner Owner) (*os.File, error) {
	path := s.cfg.Dir + "/" + StdinName
	if err := sys.Mkfifo(path, owner.UID, owner.GID); err != nil {
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	child, err := sys.RawOpen(path, syscall.O_RDONLY|syscall.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	if err := errors.Join(s.openInput(), child.SetNonblock(false)); err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return child.File(path), nil
}

// openInput opens the writing end: ENXIO if nobody reads.
func (s *Stdio) openInput() (err error) {
	path := s.cfg.Dir + "/" + StdinName
	s.in.fd, err = sys.RawOpen(path, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW)
	if err != nil {
		s.in.fd = sys.NoFile
		return fmt.Errorf("open FIFO %s: %w", path, err)
	}
	return nil
}
