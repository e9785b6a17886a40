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
