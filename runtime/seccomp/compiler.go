package seccomp

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Filter is a compiled profile. It is shared: nobody changes it.
type Filter struct {
	Program  []byte   // array of struct sock_filter
	Flags    uint32   // SECCOMP_FILTER_FLAG_*
	Listener bool     // seccomp(2) returns a descriptor that is told of calls
	Warnings []string // what the profile asks for and this machine does not know
}

// Instructions returns the length of the program.
func (f *Filter) Instructions() int { return len(f.Program) / instructionBytes }

// maxCached is how many filters a Compiler keeps: a node's containers share few profiles.
const maxCached = 64

// Compiler compiles profiles for one kind of machine and keeps the last of them. Its methods may be called from many
// goroutines at once.
type Compiler struct {
	machine machine
	goarch  string
	table   table

	mu     sync.Mutex
	cached map[digest]*Filter
	order  []digest // oldest first
	last   struct { // what was compiled last: a node's containers may share one profile, whose digest takes 40 µs
		profile *specs.LinuxSeccomp
		filter  *Filter
	}
}

// NewCompiler returns a compiler for the machine that it runs on.
func NewCompiler() *Compiler { return NewCompilerFor(runtime.GOARCH) }

// NewCompilerFor returns a compiler for the machines that Go calls goarch.
func NewCompilerFor(goarch string) *Compiler {
	return &Compiler{machine: machineOf(goarch), goarch: goarch, table: readTable(), cached: make(map[digest]*Filter)}
}

// Compile checks a profile and returns its filter, nil for nil. Nobody may change the profile from then on. Errors are of kind errdefs.ErrInvalid and name the field, as
// linux.seccomp.…, or of kind ErrNotSupported on a machine that it has no tables for.
func (c *Compiler) Compile(p *specs.LinuxSeccomp) (*Filter, error) {
	switch {
	case p == nil:
		return nil, nil
	case c.machine == nil:
		return nil, errdefs.NotSupported("linux.seccomp: not supported by berth on %s", c.goarch)
	}
	if f := c.same(p); f != nil {
		return f, nil
	}
	key := hash(p)
	if f := c.find(key); f != nil {
		c.note(p, f)
		return f, nil
	}
	checked, err := check(p, c.table)
	if err != nil {
		return nil, err
	}
	program, err := checked.program(c.machine, c.table)
	if err != nil {
		return nil, err
	}
	f := &Filter{Program: encode(program), Flags: checked.flags, Listener: checked.notifies, Warnings: warnings(checked.unknown)}
	c.keep(key, f)
	c.note(p, f)
	return f, nil
}

// same returns the filter if the profile is the one that was compiled last.
func (c *Compiler) same(p *specs.LinuxSeccomp) *Filter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.profile != p {
		return nil
	}
	return c.last.filter
}

func (c *Compiler) note(p *specs.LinuxSeccomp, f *Filter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last.profile, c.last.filter = p, f
}

func (c *Compiler) find(key digest) *Filter {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cached[key]
}

func (c *Compiler) keep(key digest, f *Filter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cached[key] != nil {
		return // somebody else has compiled it meanwhile
	}
	if len(c.order) == maxCached {
		delete(c.cached, c.order[0])
		c.order = append(c.order[:0], c.order[1:]...)
	}
	c.cached[key], c.order = f, append(c.order, key)
}

// maxListed is how many names a warning lists.
const maxListed = 20

func warnings(unknown []string) []string {
	if len(unknown) == 0 {
		return nil
	}
	listed := strings.Join(unknown[:min(len(unknown), maxListed)], " ")
	if more := len(unknown) - maxListed; more > 0 {
		listed += fmt.Sprintf(" and %d more", more)
	}
	return []string{"seccomp rules for unknown system calls, left out: " + listed}
}
