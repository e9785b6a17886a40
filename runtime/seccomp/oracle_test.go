package seccomp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// oracle is a program that asks libseccomp.
type oracle struct{ path string }

func newOracle(t *testing.T) oracle {
	gcc := testutil.RequireTool(t, "gcc")
	if _, err := os.Stat("/usr/include/seccomp.h"); err != nil {
		testutil.Skip(t, "libseccomp-dev is not installed")
	}
	path := filepath.Join(t.TempDir(), "oracle")
	if out, err := exec.Command(gcc, "-O1", "-o", path, "testdata/oracle.c", "-lseccomp").CombinedOutput(); err != nil {
		t.Fatalf("build the oracle: %v\n%s", err, out)
	}
	return oracle{path}
}

// action returns what libseccomp calls an action, which is what the kernel does.
func action(a specs.LinuxSeccompAction, errno *uint) uint32 {
	data := uint32(syscall.EPERM)
	if errno != nil {
		data = uint32(*errno)
	}
	switch a {
	case specs.ActErrno:
		return 0x00050000 | data
	case specs.ActTrace:
		return 0x7ff00000 | data
	}
	return map[specs.LinuxSeccompAction]uint32{
		specs.ActKill: 0, specs.ActKillThread: 0, specs.ActKillProcess: 0x80000000, specs.ActTrap: 0x00030000,
		specs.ActAllow: 0x7fff0000, specs.ActLog: 0x7ffc0000, specs.ActNotify: 0x7fc00000,
	}[a]
}

var operators = map[specs.LinuxSeccompOperator]int{
	specs.OpNotEqual: 1, specs.OpLessThan: 2, specs.OpLessEqual: 3, specs.OpEqualTo: 4, specs.OpGreaterEqual: 5,
	specs.OpGreaterThan: 6, specs.OpMaskedEqual: 7,
}

// archNames are libseccomp's.
var archNames = map[specs.Arch]string{
	specs.ArchX86: "x86", specs.ArchX86_64: "x86_64", specs.ArchX32: "x32", specs.ArchARM: "arm", specs.ArchAARCH64: "aarch64",
}

var archs = map[string][]specs.Arch{
	"amd64": {specs.ArchX86_64, specs.ArchX86, specs.ArchX32}, "arm64": {specs.ArchAARCH64, specs.ArchARM},
}

// script writes a profile down for the oracle as runc hands it to libseccomp.
func script(machine string, p *specs.LinuxSeccomp) string {
	var s strings.Builder
	def := action(p.DefaultAction, p.DefaultErrnoRet)
	fmt.Fprintf(&s, "machine %s\ndefault %#x\n", machine, def)
	for _, a := range archs[machine] {
		if slices.Contains(p.Architectures, a) {
			fmt.Fprintf(&s, "arch %s\n", archNames[a])
		}
	}
	rules := 0
	for _, entry := range p.Syscalls {
		act := action(entry.Action, entry.ErrnoRet)
		if act == def {
			continue
		}
		for _, name := range entry.Names {
			for _, args := range apart(entry.Args) {
				fmt.Fprintf(&s, "rule %#x %s", act, name)
				for _, a := range args {
					fmt.Fprintf(&s, " %d %d %#x %#x", a.Index, operators[a.Op], a.Value, a.ValueTwo)
				}
				s.WriteByte('\n')
				rules++
			}
		}
	}
	if rules > 32 {
		s.WriteString("optimize\n")
	}
	return s.String()
}

// apart returns one list of conditions, or a list for each if two are on one argument.
func apart(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	seen := map[uint]bool{}
	for _, a := range args {
		seen[a.Index] = true
	}
	if len(seen) == len(args) {
		return [][]specs.LinuxSeccompArg{args}
	}
	var each [][]specs.LinuxSeccompArg
	for _, a := range args {
		each = append(each, []specs.LinuxSeccompArg{a})
	}
	return each
}

// compile returns libseccomp's program, and the names that it does not know.
func (o oracle) compile(machine string, p *specs.LinuxSeccomp) (program []byte, unknown []string, err error) {
	cmd := exec.Command(o.path)
	cmd.Stdin = strings.NewReader(script(machine, p))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.Bytes(), strings.Fields(errs.String()), nil
}

// without returns a profile without the names.
func without(p *specs.LinuxSeccomp, names []string) *specs.LinuxSeccomp {
	out := *p
	out.Syscalls = nil
	for _, entry := range p.Syscalls {
		entry.Names = slices.DeleteFunc(slices.Clone(entry.Names), func(n string) bool { return slices.Contains(names, n) })
		if len(entry.Names) > 0 {
			out.Syscalls = append(out.Syscalls, entry)
		}
	}
	return &out
}

// newest returns the highest number of a profile's calls on an ABI, as runc looks for it.
func newest(p *specs.LinuxSeccomp, arch specs.Arch) uint32 {
	most := uint32(0)
	for _, entry := range p.Syscalls {
		for _, name := range entry.Names {
			n, ok := seccomp.Number(name, arch)
			if ok && (arch != specs.ArchARM || n < 0x0f0000) {
				most = max(most, n)
			}
		}
	}
	return most
}

// interpreted returns what a program of libseccomp says.
func interpreted(t *testing.T, program []byte) func(*call, specs.Arch) uint32 {
	return func(c *call, _ specs.Arch) uint32 {
		got, err := run(program, c)
		if err != nil {
			t.Fatalf("interpret libseccomp's program: %v", err)
		}
		return got
	}
}

// tail tells whether a call gets ENOSYS before the profile is asked, as runc has it: it is newer than the newest of the
// profile's.
func tail(p *specs.LinuxSeccomp, c *call, arch specs.Arch, newest uint32) bool {
	listed := arch == specs.ArchX86_64 || arch == specs.ArchAARCH64 || slices.Contains(p.Architectures, arch)
	passes := p.DefaultAction == specs.ActAllow || p.DefaultAction == specs.ActLog || p.DefaultAction == specs.ActTrace
	private := arch == specs.ArchARM && c.nr >= 0x0f0000
	return listed && !passes && !private && newest > 0 && c.nr > newest
}

var audits = map[specs.Arch]uint32{
	specs.ArchX86: 0x40000003, specs.ArchX86_64: 0xc000003e, specs.ArchX32: 0xc000003e, specs.ArchARM: 0x40000028, specs.ArchAARCH64: 0xc00000b7,
}

// numbersOf are all that an ABI may see and what lies at the ends.
func numbersOf(arch specs.Arch) []uint32 {
	var list []uint32
	base := uint32(0)
	if arch == specs.ArchX32 {
		base = 0x40000000
	}
	for n := range uint32(600) {
		list = append(list, base+n)
	}
	list = append(list, base+0x1000, base+0x3fffffff, 0xfffffffe, 0xffffffff)
	if arch == specs.ArchX86_64 {
		list = list[:len(list)-2]
	}
	if arch == specs.ArchARM {
		for n := range uint32(10) {
			list = append(list, 0x0effff+n)
		}
	}
	return list
}

// boundaries are the values of a profile, and their neighbours in both halves, for each argument.
func boundaries(p *specs.LinuxSeccomp, number func(string) (uint32, bool)) map[uint32][6][]uint64 {
	all := map[uint32][6][]uint64{}
	for _, entry := range p.Syscalls {
		for _, name := range entry.Names {
			nr, ok := number(name)
			if !ok {
				continue
			}
			list := all[nr]
			for _, a := range entry.Args {
				for _, v := range []uint64{a.Value, a.ValueTwo, a.Value | a.ValueTwo} {
					list[a.Index] = append(list[a.Index], v, v-1, v+1, v^1<<32, v+1<<32, v-1<<32, v&0xffffffff, ^v)
				}
			}
			all[nr] = list
		}
	}
	for nr, list := range all {
		for i := range list {
			slices.Sort(list[i])
			list[i] = slices.Compact(list[i])
		}
		all[nr] = list
	}
	return all
}

// compare asks our program and the other source about every number of every ABI, at the boundaries of arguments.
func compare(t *testing.T, machine string, p *specs.LinuxSeccomp, other func(*call, specs.Arch) uint32, random *rand.Rand) (calls int, first string) {
	f, err := seccomp.NewCompilerFor(machine).Compile(p)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	newestOf := map[specs.Arch]uint32{}
	for _, arch := range archs[machine] {
		newestOf[arch] = newest(p, arch)
	}
	differ := func(arch specs.Arch, c *call) {
		calls++
		got, err := run(f.Program, c)
		if err != nil {
			t.Fatalf("interpret: %v", err)
		}
		want := uint32(0x00050000) | uint32(syscall.ENOSYS)
		switch {
		case tail(p, c, arch, newestOf[arch]):
		case arch != archs[machine][0] && !slices.Contains(p.Architectures, arch) && (arch != specs.ArchX32 || c.nr != 1<<32-1):
			want = 0 // kill the thread
		default:
			want = other(c, arch)
		}
		if got != want && first == "" {
			first = fmt.Sprintf("%s call %d %#x: %#x, not %#x", arch, c.nr, c.args, got, want)
		}
	}
	for _, arch := range archs[machine] {
		values := boundaries(p, func(name string) (uint32, bool) { return seccomp.Number(name, arch) })
		for _, nr := range numbersOf(arch) {
			c := &call{nr: nr, arch: audits[arch]}
			differ(arch, c)
			lists := values[nr]
			tries := 0
			for i, list := range lists {
				for _, v := range list {
					c := &call{nr: nr, arch: audits[arch]}
					c.args[i] = v
					differ(arch, c)
				}
				tries += len(list) * 8
			}
			for range tries {
				for i, list := range lists {
					if len(list) > 0 {
						c.args[i] = list[random.IntN(len(list))]
					}
				}
				differ(arch, c)
			}
		}
		if arch == specs.ArchX86 { // parts of socketcall and ipc
			for _, nr := range []uint32{102, 117} {
				for n := range uint64(30) {
					for second := range uint64(20) {
						differ(arch, &call{nr: nr, arch: audits[arch], args: [6]uint64{n, second, second}})
					}
				}
			}
		}
	}
	differ("another", &call{nr: 1, arch: 0x12345678})
	return calls, first
}

func TestVerdictsAreLibseccomps(t *testing.T) {
	o := newOracle(t)
	files, err := filepath.Glob("testdata/profiles/*.json")
	testutil.Must(t, err)
	files = append(files, "../../cri-server/spec/testdata/seccomp-default.json") // RuntimeDefault
	for _, file := range files {
		for machine, list := range archs {
			t.Run(filepath.Base(file)+" on "+machine, func(t *testing.T) {
				data, err := os.ReadFile(file)
				testutil.Must(t, err)
				var full specs.LinuxSeccomp
				testutil.Must(t, json.Unmarshal(data, &full))
				o.judge(t, machine, list, full)
			})
		}
	}
}

// judge compares the verdicts for a profile on a machine.
func (o oracle) judge(t *testing.T, machine string, list []specs.Arch, full specs.LinuxSeccomp) {
	t.Helper()
	for n := range len(list) { // the native one, and one more at a time
		p := full
		p.Architectures = list[:n+1]
		theirs, unknown, err := o.compile(machine, &p)
		if err != nil && strings.Contains(err.Error(), "File exists") {
			// Its rules for x86 meet in socketcall(2) when they differ in the first argument only.
			t.Logf("libseccomp refuses the profile for %v", p.Architectures)
			continue
		}
		testutil.Must(t, err)
		known := without(&p, unknown)
		calls, difference := compare(t, machine, known, interpreted(t, theirs), rand.New(rand.NewPCG(1, 2)))
		if difference != "" {
			t.Error(difference)
		}
		t.Logf("%d calls on %v; libseccomp does not know %v", calls, p.Architectures, unknown)
	}
}
