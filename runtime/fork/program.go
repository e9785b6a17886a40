package fork

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Program is a verified list of system calls that ends in execve. It can be started any number of times, also at once.
type Program struct {
	calls  []call
	relocs []reloc
	arena  []byte // backed by 8-aligned memory, with 8 zero bytes behind its end so that every string ends
	files  []*os.File
}

// newProgram takes over the files only if it succeeds.
func newProgram(calls []call, relocs []reloc, arena []byte, files []*os.File) (*Program, error) {
	if err := verify(calls, relocs, len(arena), len(files)); err != nil {
		return nil, err
	}
	p := &Program{calls: calls, relocs: relocs, arena: alignedCopy(arena), files: files}
	return p, nil
}

// alignedCopy returns a copy at a multiple of 8.
func alignedCopy(b []byte) []byte {
	words := make([]uint64, len(b)/8+2)
	a := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	return a[:copy(a, b)]
}

// Close closes the program's files. It is idempotent.
func (p *Program) Close() error {
	files := p.files
	p.files = nil
	p.calls = nil
	return closeAll(files)
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// verify checks everything that the child, which has no way to stop and complain, takes on trust.
func verify(calls []call, relocs []reloc, arena, files int) error {
	switch {
	case len(calls) == 0:
		return errdefs.Invalid("program has no calls")
	case len(calls) > maxCalls:
		return errdefs.Invalid("program has %d calls, more than %d", len(calls), maxCalls)
	case len(relocs) > maxRelocs:
		return errdefs.Invalid("program has %d pointers in structures, more than %d", len(relocs), maxRelocs)
	case arena > maxArena:
		return errdefs.Invalid("program has %d bytes of arguments, more than %d", arena, maxArena)
	case files > maxFiles:
		return errdefs.Invalid("program has %d files, more than %d", files, maxFiles)
	}
	steps, clones := 0, 0
	for i := range calls {
		if err := verifyCall(&calls[i], i, arena, files); err != nil {
			return err
		}
		steps += len(calls[i].step)
		if calls[i].nr == sysClone3 {
			clones++
		}
	}
	if clones > 1 {
		return errdefs.Invalid("program makes %d more processes, one is allowed", clones)
	}
	if steps > maxSteps {
		return errdefs.Invalid("program has %d bytes of step texts, more than %d", steps, maxSteps)
	}
	if last := calls[len(calls)-1].nr; last != syscall.SYS_EXECVE && last != sysExecveat {
		return errdefs.Invalid("program ends in system call %d, not in execve", last)
	}
	for _, r := range relocs {
		if r.at%8 != 0 || int(r.at)+8 > arena || r.kind == argReg || r.kind == argImm {
			return errdefs.Invalid("program has a bad pointer at %d", r.at)
		}
		if err := verifyArg(r.arg, 0, arena, files); err != nil {
			return err
		}
	}
	return nil
}

func verifyCall(c *call, i, arena, files int) error {
	if len(c.step) > maxStep {
		return errdefs.Invalid("call %d has a step text of %d bytes, more than %d", i, len(c.step), maxStep)
	}
	if c.nr == sysClone3 && c.isClone() {
		return nil
	}
	if c.nr >= opEnd || breaksChild(c.nr) {
		return errdefs.Invalid("call %d (%s) is system call %d, which a program can't make", i, clip(c.step), c.nr)
	}
	if c.nr >= opFirst && (c.nargs != 2 || len(c.ignore) > 0 || c.nr == opCheckpoint && c.args[0].kind != argImm) {
		return errdefs.Invalid("call %d (%s) is a malformed operation", i, clip(c.step))
	}
	if c.nargs > maxArgs || len(c.ignore) > maxIgnore {
		return errdefs.Invalid("call %d (%s) has %d arguments and ignores %d errors", i, clip(c.step), c.nargs, len(c.ignore))
	}
	for _, e := range c.ignore {
		if e == 0 || e > maxErrno {
			return errdefs.Invalid("call %d (%s) ignores errno %d", i, clip(c.step), e)
		}
	}
	for _, a := range c.args[:c.nargs] {
		if err := verifyArg(a, i, arena, files); err != nil {
			return err
		}
	}
	return nil
}

func verifyArg(a arg, call, arena, files int) error {
	ok := false
	switch a.kind {
	case argImm:
		ok = true
	case argPtr:
		ok = a.val < uint64(arena)
	case argFile:
		ok = a.val < uint64(files)
	case argStdio:
		ok = a.val <= 2
	case argReg:
		ok = a.val < uint64(call)
	}
	if !ok {
		return errdefs.Invalid("call %d has a bad argument: kind %d, value %d", call, a.kind, a.val)
	}
	return nil
}

// resolve returns the value of an argument that is not a register, given the base of the arena and the descriptors.
func (a arg) resolve(base uintptr, fds []int, stdio [3]int) uintptr {
	switch a.kind {
	case argPtr:
		return base + uintptr(a.val)
	case argFile:
		return uintptr(fds[a.val])
	case argStdio:
		return uintptr(stdio[a.val])
	default:
		return uintptr(a.val)
	}
}
