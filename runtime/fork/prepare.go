package fork

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// firstFree is the lowest descriptor that a program's own dup3 to 0, 1 and 2 can't overwrite.
const firstFree = 3

// prepared is a plan with what it points to.
type prepared struct {
	plan  *childPlan
	arena []byte
	pidfd int32
	low   []int // duplicates of descriptors below firstFree
}

// prepare resolves the program for one start. The caller closes the result after the fork.
func prepare(p *Program, o Options, report, answer *os.File) (_ *prepared, err error) {
	pr := &prepared{}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(pr.close)
	fds := make([]int, len(p.files))
	for i, f := range p.files {
		if fds[i], err = pr.fd(f); err != nil {
			return nil, fmt.Errorf("start process: file %d of the program: %w", i, err)
		}
	}
	stdio := [3]int{-1, -1, -1}
	for i, f := range o.Stdio {
		if f == nil {
			continue
		}
		if stdio[i], err = pr.fd(f); err != nil {
			return nil, fmt.Errorf("start process: stdio %d: %w", i, err)
		}
	}
	errfd, err := pr.fd(report)
	if err != nil {
		return nil, fmt.Errorf("start process: pipe: %w", err)
	}
	gofd := -1
	if answer != nil {
		if gofd, err = pr.fd(answer); err != nil {
			return nil, fmt.Errorf("start process: pipe: %w", err)
		}
	}
	pr.arena = p.patched(fds, stdio)
	pr.plan = &childPlan{results: make([]uintptr, len(p.calls)), errfd: uintptr(errfd), gofd: uintptr(gofd)}
	if pr.plan.calls, err = resolveCalls(p, pr.arena, fds, stdio); err != nil {
		return nil, err
	}
	if i := p.cloneAt(); i >= 0 {
		c := &pr.plan.calls[i]
		c.arg[0], c.arg[1] = uintptr(unsafe.Pointer(&pr.plan.second)), unsafe.Sizeof(pr.plan.second)
	}
	pr.plan.second = cloneArgs{flags: p.cloneFlags() | unix.CLONE_PARENT} // whose exit signal is the first child's
	pr.plan.gaps = gaps(append(append(fds, errfd, gofd), stdio[:]...))
	if err := pr.cloneArgs(o); err != nil {
		return nil, err
	}
	cu.Release()
	return pr, nil
}

func (pr *prepared) cloneArgs(o Options) error {
	pr.plan.clone = cloneArgs{
		flags:      o.Flags | unix.CLONE_PIDFD,
		pidfd:      uint64(uintptr(unsafe.Pointer(&pr.pidfd))),
		exitSignal: uint64(unix.SIGCHLD),
	}
	if o.Cgroup == nil {
		return nil
	}
	fd, err := rawFD(o.Cgroup)
	if err != nil {
		return fmt.Errorf("start process: cgroup: %w", err)
	}
	pr.plan.clone.flags |= unix.CLONE_INTO_CGROUP
	pr.plan.clone.cgroup = uint64(fd)
	return nil
}

// fd returns the descriptor of f, or of a duplicate if f is one of 0, 1 and 2.
func (pr *prepared) fd(f *os.File) (int, error) {
	fd, err := rawFD(f)
	if err != nil || fd >= firstFree {
		return fd, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFree)
	if err == nil {
		pr.low = append(pr.low, dup)
	}
	return dup, err
}

func (pr *prepared) close() error {
	low := pr.low
	pr.low = nil
	var errs []error
	for _, fd := range low {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

func resolveCalls(p *Program, arena []byte, fds []int, stdio [3]int) ([]childCall, error) {
	base := uintptr(0)
	if len(arena) > 0 {
		base = uintptr(unsafe.Pointer(&arena[0]))
	}
	calls := make([]childCall, len(p.calls))
	for i := range p.calls {
		from, to := &p.calls[i], &calls[i]
		to.nr = uintptr(from.nr)
		to.step, to.stepLen = uintptr(unsafe.Pointer(unsafe.StringData(from.step))), uintptr(len(from.step))
		copy(to.ignore[:], from.ignore)
		for j, a := range from.args[:from.nargs] {
			if a.kind == argReg {
				to.reg[j] = uint16(a.val) + 1
				continue
			}
			if a.kind == argStdio && stdio[a.val] < 0 {
				return nil, errdefs.Invalid("start process: %s: the launcher has no stdio %d", from.step, a.val)
			}
			to.arg[j] = a.resolve(base, fds, stdio)
		}
	}
	return calls, nil
}

// gaps returns the ranges of descriptors from firstFree on that are not in keep.
func gaps(keep []int) [][2]uintptr {
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
