package pod

import (
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
)

// pipePair is a pipe to or from a process: ours is the end that we keep, and that waits in the Go way (deadlines work);
// theirs blocks as programs expect of their stdio.
type pipePair struct{ ours, theirs *os.File }

// pipes are the stdio of a process; what is not connected is nil.
type pipes struct{ stdin, stdout, stderr pipePair }

// openPipes opens those asked for. What it returns must be closed, also with an error.
func openPipes(stdin, stdout, stderr bool) (*pipes, error) {
	p := &pipes{}
	var errs []error
	open := func(wanted, reads bool, name string) pipePair {
		if !wanted {
			return pipePair{}
		}
		pair, err := openPipe(reads, name)
		errs = append(errs, err)
		return pair
	}
	p.stdin = open(stdin, true, "stdin")
	p.stdout = open(stdout, false, "stdout")
	p.stderr = open(stderr, false, "stderr")
	if err := errors.Join(errs...); err != nil {
		return p, fmt.Errorf("open pipes: %w", err)
	}
	return p, nil
}

// openPipe opens a pipe that the process reads, or writes.
func openPipe(processReads bool, name string) (pipePair, error) {
	r, w, err := sys.RawPipe()
	if err != nil {
		return pipePair{}, err
	}
	ours, theirs := r, w
	if processReads {
		ours, theirs = w, r
	}
	if err := theirs.SetNonblock(false); err != nil {
		return pipePair{}, errors.Join(err, r.Close(), w.Close())
	}
	return pipePair{ours: ours.File(name), theirs: theirs.File(name)}, nil
}

// pollable returns a second file for a terminal, which waits in the Go way. Its mode is that of the terminal's file too:
// they are one to the kernel.
func pollable(f *os.File) (*os.File, error) {
	raw, err := sys.RawDup(f)
	if err != nil {
		return nil, fmt.Errorf("duplicate terminal: %w", err)
	}
	if err := raw.SetNonblock(true); err != nil {
		return nil, errors.Join(fmt.Errorf("make terminal non-blocking: %w", err), raw.Close())
	}
	return raw.File(f.Name()), nil
}

func (p *pipes) theirs() [3]*os.File {
	return [3]*os.File{p.stdin.theirs, p.stdout.theirs, p.stderr.theirs}
}

// closeTheirs closes the process's ends once it has them, so that the end of a stream can be seen.
func (p *pipes) closeTheirs() error {
	return closeFiles(&p.stdin.theirs, &p.stdout.theirs, &p.stderr.theirs)
}

// drop closes our ends of what a client does not want after all.
func (p *pipes) drop(stdin, stdout, stderr bool) error {
	var errs []error
	for file, unwanted := range map[**os.File]bool{&p.stdin.ours: stdin, &p.stdout.ours: stdout, &p.stderr.ours: stderr} {
		if unwanted {
			errs = append(errs, closeFiles(file))
		}
	}
	return errors.Join(errs...)
}

func (p *pipes) close() error {
	return errors.Join(p.closeTheirs(), closeFiles(&p.stdin.ours, &p.stdout.ours, &p.stderr.ours))
}

func closeFiles(files ...**os.File) error {
	var errs []error
	for _, f := range files {
		if *f != nil {
			errs = append(errs, (*f).Close())
			*f = nil
		}
	}
	return errors.Join(errs...)
}
