package seccomp_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/seccomp"
)

// confined runs f in a thread of its own with the filter loaded.
func confined(filter *seccomp.Filter, f func()) (errno syscall.Errno) {
	done := make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
			done <- errno
			return
		}
		prog := unix.SockFprog{Len: uint16(filter.Instructions()), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter.Program[0]))}
		_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(filter.Flags), uintptr(unsafe.Pointer(&prog)))
		if errno == 0 && f != nil {
			f()
		}
		done <- errno
	}()
	return <-done
}

func TestTheKernelAgrees(t *testing.T) {
	refused := []string{"getppid", "getpriority", "dup2", "dup3", "personality"}
	allowed := slices.DeleteFunc(seccomp.Names(), func(n string) bool { return slices.Contains(refused, n) || n == "rseq_slice_yield" || n == "listns" })
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: new(uint(100)), Syscalls: []specs.LinuxSyscall{
		{Names: allowed, Action: specs.ActAllow},
		{Names: []string{"getpriority"}, Action: specs.ActErrno, ErrnoRet: new(uint(101))},
		{Names: []string{"dup3"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1 << 32, Op: specs.OpLessThan}, {Index: 2, Value: unix.O_CLOEXEC, Op: specs.OpMaskedEqual}}},
	}}
	filter, err := seccomp.NewCompiler().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	type try struct {
		name string
		nr   uintptr
		args [3]uintptr
		want syscall.Errno
		got  syscall.Errno
	}
	tries := []try{
		{name: "default", nr: unix.SYS_GETPPID, want: 100},
		{name: "errno of a rule", nr: unix.SYS_GETPRIORITY, want: 101},
		{name: "allowed", nr: unix.SYS_GETPID},
		{name: "conditions that hold", nr: unix.SYS_DUP3, args: [3]uintptr{1 << 20, 1 << 20, 0}, want: unix.EINVAL},
		{name: "first condition fails", nr: unix.SYS_DUP3, args: [3]uintptr{1 << 32, 1 << 20, 0}, want: 100},
		{name: "second condition fails", nr: unix.SYS_DUP3, args: [3]uintptr{1 << 20, 1 << 20, unix.O_CLOEXEC}, want: 100},
		{name: "newer than the profile", nr: 471, want: unix.ENOSYS},
		{name: "far newer", nr: 99999, want: unix.ENOSYS},
	}
	errno := confined(filter, func() {
		for i := range tries {
			_, _, tries[i].got = syscall.RawSyscall(tries[i].nr, tries[i].args[0], tries[i].args[1], tries[i].args[2])
		}
	})
	if errno != 0 {
		t.Fatalf("load the filter: %v", errno)
	}
	for _, try := range tries {
		if try.got != try.want {
			t.Errorf("%s: errno %d, want %d", try.name, try.got, try.want)
		}
	}
}

// libseccomp's Go bindings allowed a call when one condition of several held (CVE-2017-18367), and libseccomp compared the
// halves of 64-bit arguments wrongly (CVE-2019-9893). Here it would show as a rule that does not apply
// where its conditions hold, or does elsewhere: the kernel's own answer is EBADF then.
func TestCVE_2017_18367_2019_9893_ConditionsInTheKernel(t *testing.T) {
	const high = 1 << 32
	arg := func(index uint, op specs.LinuxSeccompOperator, value, two uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: index, Op: op, Value: value, ValueTwo: two}
	}
	type call struct {
		offset uintptr
		whence uintptr
		holds  bool
	}
	for name, c := range map[string]struct {
		args  []specs.LinuxSeccompArg
		calls []call
	}{
		"all must hold": {
			[]specs.LinuxSeccompArg{arg(1, specs.OpEqualTo, 5, 0), arg(2, specs.OpEqualTo, 1, 0)},
			[]call{{5, 1, true}, {5, 0, false}, {4, 1, false}, {4, 0, false}},
		},
		"less":             {[]specs.LinuxSeccompArg{arg(1, specs.OpLessThan, high+5, 0)}, []call{{high + 4, 0, true}, {7, 0, true}, {high + 5, 0, false}, {2*high + 1, 0, false}}},
		"less or equal":    {[]specs.LinuxSeccompArg{arg(1, specs.OpLessEqual, high+5, 0)}, []call{{high + 5, 0, true}, {7, 0, true}, {high + 6, 0, false}, {2*high + 1, 0, false}}},
		"greater":          {[]specs.LinuxSeccompArg{arg(1, specs.OpGreaterThan, high+5, 0)}, []call{{high + 6, 0, true}, {2 * high, 0, true}, {high + 5, 0, false}, {7, 0, false}}},
		"greater or equal": {[]specs.LinuxSeccompArg{arg(1, specs.OpGreaterEqual, high+5, 0)}, []call{{high + 5, 0, true}, {2 * high, 0, true}, {high + 4, 0, false}, {7, 0, false}}},
		"not equal":        {[]specs.LinuxSeccompArg{arg(1, specs.OpNotEqual, high+5, 0)}, []call{{5, 0, true}, {2*high + 5, 0, true}, {high + 5, 0, false}}},
		"masked":           {[]specs.LinuxSeccompArg{arg(1, specs.OpMaskedEqual, high+1, high)}, []call{{high + 2, 0, true}, {high + 1, 0, false}, {2, 0, false}}},
	} {
		filter, err := seccomp.NewCompiler().Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"lseek"}, Action: specs.ActErrno, ErrnoRet: new(uint(100)), Args: c.args},
		}})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]syscall.Errno, len(c.calls))
		if errno := confined(filter, func() {
			for i, l := range c.calls {
				_, _, got[i] = syscall.RawSyscall(unix.SYS_LSEEK, 1<<20, l.offset, l.whence)
			}
		}); errno != 0 {
			t.Fatalf("load the filter: %v", errno)
		}
		for i, l := range c.calls {
			if held := got[i] == 100; held != l.holds || !held && got[i] != unix.EBADF {
				t.Errorf("%s: lseek(…, %#x, %d): errno %d", name, l.offset, l.whence, got[i])
			}
		}
	}
}

// TestTheKernelTakesPrograms loads the program of every profile, without making a call that it would not survive.
func TestTheKernelTakesPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/profiles/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no profiles", err)
	}
	files = append(files, "../../cri-server/spec/testdata/seccomp-default.json") // RuntimeDefault
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var p specs.LinuxSeccomp
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		filter, err := seccomp.NewCompiler().Compile(&p)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(filter.Program); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		// Behind one that allows everything first, as the strictest verdict counts it would not be enough: so a copy of it is
		// loaded whose returns all allow.
		open := *filter
		open.Program = slices.Clone(filter.Program)
		for i := 0; i < len(open.Program); i += 8 {
			if open.Program[i] == 0x06 && open.Program[i+1] == 0 {
				copy(open.Program[i+4:], []byte{0, 0, 0xff, 0x7f})
			}
		}
		open.Flags &^= 8 // nobody wants to be told
		if errno := confined(&open, nil); errno != 0 {
			t.Errorf("%s: %v", file, errno)
		}
		t.Logf("%s: %d instructions", filepath.Base(file), filter.Instructions())
	}
}
