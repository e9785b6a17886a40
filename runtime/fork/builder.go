package fork

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Builder collects the calls of a program. Its methods never fail: [Builder.Program] reports what was wrong.
//
//	b := fork.NewBuilder()
//	defer b.Close()
//	b.Call("set the host name", syscall.SYS_SETHOSTNAME, b.Str(name), fork.Imm(uint64(len(name))))
//	b.Call("execute "+path, syscall.SYS_EXECVE, b.Str(path), b.Argv(args), b.Argv(env))
//	p, err := b.Program()
type Builder struct {
	arena  []byte
	strs   map[string]uint64
	relocs []reloc
	files  []*os.File
	fileAt map[*os.File]uint64
	calls  []*Call
	errs   []error
}

// NewBuilder returns an empty builder.
func NewBuilder() *Builder {
	return &Builder{strs: make(map[string]uint64), fileAt: make(map[*os.File]uint64)}
}

// Call is one call of a program under construction.
type Call struct {
	call
	of    *Builder
	index uint64
}

// Str puts a NUL-terminated string into the arena. Equal strings share their place.
func (b *Builder) Str(s string) Arg {
	if strings.IndexByte(s, 0) >= 0 {
		b.fail(errdefs.Invalid("string %q for a system call has a NUL byte in it", clip(s)))
		return Null()
	}
	at, ok := b.strs[s]
	if !ok {
		at = uint64(len(b.arena))
		b.arena = append(append(b.arena, s...), 0)
		b.strs[s] = at
	}
	return Arg{kind: argPtr, val: at, of: b}
}

// Bytes puts a copy of p into the arena, at a multiple of 8. The kernel may write into it.
func (b *Builder) Bytes(p []byte) Arg {
	b.align()
	at := uint64(len(b.arena))
	b.arena = append(b.arena, p...)
	b.align()
	return Arg{kind: argPtr, val: at, of: b}
}

// Struct is [Builder.Bytes] of a structure with pointers or descriptors in it: the value of each argument is put into
// the 8 bytes at its offset, a multiple of 8, before the program runs. Results of calls can't be put into structures.
func (b *Builder) Struct(p []byte, refs map[int]Arg) Arg {
	s := b.Bytes(p)
	for off, a := range refs {
		if off < 0 || off%8 != 0 || off+8 > len(p) {
			b.fail(errdefs.Bug("reference at offset %d of a structure of %d bytes", off, len(p)))
			continue
		}
		if !b.owns(a) || a.kind == argReg {
			b.fail(errdefs.Bug("argument of kind %d in a structure", a.kind))
			continue
		}
		b.place(uint32(s.val)+uint32(off), a)
	}
	return s
}

// Argv puts an array of pointers to the strings into the arena, ended by a null pointer, as execve takes it.
func (b *Builder) Argv(list []string) Arg {
	ptrs := make([]Arg, len(list))
	for i, s := range list {
		ptrs[i] = b.Str(s)
	}
	array := b.Bytes(make([]byte, 8*(len(list)+1)))
	for i, p := range ptrs {
		b.place(uint32(array.val)+uint32(8*i), p)
	}
	return array
}

// File is a descriptor. The program owns f from now on; the same file may be used by many calls.
func (b *Builder) File(f *os.File) Arg {
	if f == nil {
		b.fail(errdefs.Bug("nil file in a program"))
		return Int(-1)
	}
	i, ok := b.fileAt[f]
	if !ok {
		i = uint64(len(b.files))
		b.files = append(b.files, f)
		b.fileAt[f] = i
	}
	return Arg{kind: argFile, val: i, of: b}
}

// Stdio is the descriptor that the launcher provides as standard input (0), output (1) or error (2). It is never
// itself one of 0, 1 and 2: dup3 it there.
func (b *Builder) Stdio(i int) Arg {
	if i < 0 || i > 2 {
		b.fail(errdefs.Bug("stdio %d in a program", i))
	}
	return Arg{kind: argStdio, val: uint64(i), of: b}
}

// Call appends a system call. The step is what an error will say, verb and object: "mount proc on /proc". An openat2 that
// was disturbed by a rename or mount elsewhere (EAGAIN) is repeated.
func (b *Builder) Call(step string, nr uintptr, args ...Arg) *Call {
	c := &Call{call: call{step: step, nr: uint32(nr)}, of: b, index: uint64(len(b.calls))}
	b.calls = append(b.calls, c)
	if len(args) > maxArgs {
		b.fail(errdefs.Bug("%s: %d arguments", step, len(args)))
		return c
	}
	c.nargs = uint8(len(args))
	for i, a := range args {
		if !b.owns(a) {
			b.fail(errdefs.Bug("%s: argument %d comes from another builder", step, i))
		}
		c.args[i] = arg{a.kind, a.val}
	}
	return c
}

// Ignore names errnos that don't stop the program. The result of a call that failed so is -1: a later call that uses it
// as a descriptor fails with EBADF unless it ignores that.
func (c *Call) Ignore(errnos ...syscall.Errno) *Call {
	for _, e := range errnos {
		c.ignore = append(c.ignore, uint16(e))
	}
	return c
}

// Result is the return value of the call, for use by later calls.
func (c *Call) Result() Arg { return Arg{kind: argReg, val: c.index, of: c.of} }

// Program verifies and returns the program, which owns the files. On error the files stay with the builder.
func (b *Builder) Program() (*Program, error) {
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	calls := make([]call, len(b.calls))
	for i, c := range b.calls {
		calls[i] = c.call
	}
	p, err := newProgram(calls, b.relocs, b.arena, b.files)
	if err != nil {
		return nil, err
	}
	*b = *NewBuilder()
	return p, nil
}

// Close closes the files of a builder that was given up. After a successful [Builder.Program] it does nothing.
func (b *Builder) Close() error {
	files := b.files
	*b = *NewBuilder()
	return closeAll(files)
}

func (b *Builder) owns(a Arg) bool { return a.kind == argImm || a.of == b }

func (b *Builder) place(at uint32, a Arg) {
	if a.kind == argImm {
		binary.NativeEndian.PutUint64(b.arena[at:], a.val)
		return
	}
	b.relocs = append(b.relocs, reloc{at: at, arg: arg{a.kind, a.val}})
}

func (b *Builder) align() {
	for len(b.arena)%8 != 0 {
		b.arena = append(b.arena, 0)
	}
}

func (b *Builder) fail(err error) { b.errs = append(b.errs, err) }

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
