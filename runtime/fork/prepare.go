package fork

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// firstFree is the lowest descriptor that a program's own dup3 to 0, 1 and 2 can't overwrite.
const firstFree = 3

// pipeEnds are what a child reports to and is told to go on by; the second is nil without checkpoints.
type pipeEnds struct{ report, answer *os.File }

// number finds the descriptors that everything has for the child, by a function that finds one.
func (p *Program) number(o Options, ends pipeEnds, fd func(*os.File) (int, error)) (n numbers, err error) {
	n = numbers{program: make([]int, len(p.files)), stdio: [3]int{-1, -1, -1}, answer: -1}
	for i, f := range p.files {
		if n.program[i], err = fd(f); err != nil {
			return n, fmt.Errorf("start process: file %d of the program: %w", i, err)
		}
	}
	for i, f := range o.Stdio {
		if f == nil {
			continue
		}
		if n.stdio[i], err = fd(f); err != nil {
			return n, fmt.Errorf("start process: stdio %d: %w", i, err)
		}
	}
	if n.report, err = fd(ends.report); err != nil {
		return n, fmt.Errorf("start process: pipe: %w", err)
	}
	if ends.answer != nil {
		if n.answer, err = fd(ends.answer); err != nil {
			return n, fmt.Errorf("start process: pipe: %w", err)
		}
	}
	if o.Cgroup != nil {
		if n.cgroup, err = fd(o.Cgroup); err != nil {
			return n, fmt.Errorf("start process: cgroup: %w", err)
		}
	}
	return n, nil
}

// gaps returns the ranges of descriptors from firstFree on that a child must not have.
func (n *numbers) gaps() [][2]uintptr {
	keep := append(slices.Clone(n.program), n.report, n.answer)
	keep = append(keep, n.stdio[:]...)
	slices.Sort(keep)
	var list [][2]uintptr
	next := uintptr(firstFree)
	for _, fd := range keep {
		if fd < firstFree || uintptr(fd) < next {
			continue
		}
		if uintptr(fd) > next {
			list = append(list, [2]uintptr{next, uintptr(fd) - 1})
		}
		next = uintptr(fd) + 1
	}
	return append(list, [2]uintptr{next, uintptr(^uint32(0))})
}

// own are descriptors of this process as a child gets them.
type own struct {
	low []int // duplicates of descriptors below firstFree
}

// fd returns the descriptor of f, or of a duplicate if f is one of 0, 1 and 2.
func (w *own) fd(f *os.File) (int, error) {
	fd, err := rawFD(f)
	if err != nil || fd >= firstFree {
		return fd, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFree)
	if err == nil {
		w.low = append(w.low, dup)
	}
	return dup, err
}

func (w *own) close() error {
	low := w.low
	w.low = nil
	var errs []error
	for _, fd := range low {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// rawFD returns the descriptor without the side effects of File.Fd. The caller keeps f alive.
func rawFD(f *os.File) (int, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if err := conn.Control(func(v uintptr) { fd = int(v) }); err != nil {
		return -1, err
	}
	return fd, nil
}

func closeOnce(f *os.File) func() error { return sync.OnceValue(f.Close) }
