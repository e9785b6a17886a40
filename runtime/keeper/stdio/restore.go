package stdio

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/logs"
)

// Restore opens the stdio of a process that a former keeper started, and finishes the chunk that was on its way. A terminal
// does nothing before SetMaster.
func Restore(shared *Shared, cfg Config, cursor *Cursor) (_ *Stdio, err error) {
	s := newStdio(shared, cfg, cursor)
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(s.closeOwn)
	if err := s.openLog(); err != nil {
		// The folder may have been removed with the pod. The process goes on, without a log.
		shared.Logger.Error("can't open log: output is dropped", "process", cfg.ID, "error", err)
	}
	if cfg.Terminal {
		cu.Release()
		return s, nil
	}
	if err := errors.Join(s.openOutput(&s.out[0], StdoutName), s.openOutput(&s.out[1], StderrName)); err != nil {
		return nil, err
	}
	if cfg.Stdin {
		// ENXIO: the process has closed its input. ENOENT: the folder is going.
		if err := s.openInput(); err != nil && !errors.Is(err, syscall.ENXIO) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := s.resume(); err != nil {
		shared.Logger.Error("can't finish a piece of output: it may be in the log twice, or not at all", "process", cfg.ID, "error", err)
	}
	cu.Release()
	return s, nil
}

// resume finishes the step that the cursor tells of, or leaves it undone if it had not come to an effect.
func (s *Stdio) resume() error {
	k, ok := s.cursor.pending()
	if !ok {
		s.cursor.abandon()
		return nil
	}
	if k.length > 0 && s.cursor.taken() { // comes after the log
		s.cursor.finish(k)
		return nil
	}
	if k.out == 0 || s.log == nil {
		s.cursor.abandon()
		return nil
	}
	return s.resumeLog(k)
}

func (s *Stdio) resumeLog(k step) (err error) {
	log := s.log
	if log.Identity() != k.log { // a rotation has come between
		if log, err = logs.Find(s.cfg.LogPath, k.log); err != nil {
			s.cursor.abandon() // the output goes into the new log
			if errors.Is(err, errdefs.ErrNotFound) {
				return nil
			}
			return err
		}
		defer func() { err = errors.Join(err, log.Close()) }()
	}
	size, err := log.Size()
	if err != nil {
		return fmt.Errorf("stat log: %w", err)
	}
	if size <= k.offset { // not begun
		s.cursor.abandon()
		return nil
	}
	return s.complete(log, size, k)
}

// complete writes what is missing of the records, and takes the output out of the FIFO.
func (s *Stdio) complete(log *logs.File, size int64, k step) error {
	o := &s.out[index(k.stream)]
	b := s.shared.borrow()
	defer s.shared.giveBack(b)
	held := copy(b.in[:], s.cursor.line(k.stream))
	n, err := s.shared.peek(o.fd, b.in[held:held+k.length])
	if err != nil {
		return err
	}
	if missing := k.offset + int64(k.out) - size; missing > 0 {
		records := b.in[:max(held+n-k.newLine.len(), 0)] // the rest becomes the unfinished line
		out, _ := logs.Format(b.out[:0], 0, k.at, k.stream, records, true)
		if n != k.length || len(out) != k.out {
			s.cursor.finish(k)
			return errdefs.New(errdefs.ErrDataLoss, "of %d bytes only %d are left", k.length, n)
		}
		if err := log.Append(size, out[int64(k.out)-missing:]); err != nil {
			return err
		}
	}
	if n > 0 {
		if err := take(o.fd, b.in[held:held+n], s.cursor.marker()); err != nil {
			return err
		}
	}
	s.cursor.finish(k)
	return nil
}
