package crilog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// maxRecord bounds a record: writers split lines at 16 KiB, and a head is short.
const maxRecord = 1 << 20

// Follow passes every record of the log at path to handle, from the beginning of the present file on. With ended nil it
// returns at the end of the file; otherwise it waits for more, in this file and in those that follow it at the same
// path, until ended is closed and all that was written before has been passed on.
func Follow(ctx context.Context, path string, ended <-chan struct{}, handle func(Line) error) (err error) {
	f := &follower{path: path, handle: handle}
	defer func() { err = errors.Join(err, f.close()) }()
	if ended == nil {
		if err := f.open(); err != nil {
			return err
		}
		return f.drain()
	}
	watch, err := sys.NewInotify()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.Close()) }()
	if err := watch.WatchDir(filepath.Dir(path)); err != nil {
		return err
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel() // wakes the wait below, for the last look
		case <-wait.Done():
		}
	}()
	for {
		done := wait.Err() != nil // asked before the look: what was written before is then seen
		if err := f.look(); err != nil {
			return err
		}
		if done {
			return ctx.Err()
		}
		if err := watch.Wait(wait); err != nil && wait.Err() == nil {
			return err
		}
	}
}

// follower reads one file after the other at a path.
type follower struct {
	path   string
	handle func(Line) error
	file   *os.File
	reader *bufio.Reader
	part   []byte // a record whose end isn't written yet
}

// look reads all there is: the rest of the present file, and the next one if there is another at the path.
func (f *follower) look() error {
	for {
		if f.file != nil {
			moved, err := f.moved()
			if err != nil {
				return err
			}
			// The old file is read to its end after it was seen to be moved: nothing is written to it any more once
			// the new one exists.
			if err := f.drain(); err != nil || !moved {
				return err
			}
			if err := f.close(); err != nil {
				return err
			}
		}
		if err := f.open(); errors.Is(err, fs.ErrNotExist) {
			return nil // between two files, or before the first
		} else if err != nil {
			return err
		}
	}
}

func (f *follower) open() error {
	file, err := os.OpenFile(f.path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	f.file, f.reader = file, bufio.NewReaderSize(file, 64<<10)
	return nil
}

// moved says whether another file is at the path now. None at all is no move: the next one comes.
func (f *follower) moved() (bool, error) {
	now, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the log: %w", err)
	}
	mine, err := f.file.Stat()
	if err != nil {
		return false, fmt.Errorf("read the log: %w", err)
	}
	return !os.SameFile(now, mine), nil
}

func (f *follower) drain() error {
	for {
		part, err := f.reader.ReadSlice('\n')
		f.part = append(f.part, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if len(f.part) > maxRecord {
				return errdefs.Invalid("read the log %s: a line of more than %d bytes; this is no log of CRI", f.path, maxRecord)
			}
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		}
		line, _ := Parse(bytes.TrimSuffix(f.part, []byte("\n")))
		if err := f.handle(line); err != nil {
			return err
		}
		f.part = f.part[:0]
	}
}

func (f *follower) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file, f.reader, f.part = nil, nil, nil
	return err
}
