package fork

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func sample(t testing.TB) *Program {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBuilder()
	fd := b.Call("open /x", unix.SYS_OPENAT, Int(unix.AT_FDCWD), b.Str("/x"), Imm(0)).Ignore(syscall.ENOENT, syscall.EACCES).Result()
	b.Call("close /x", unix.SYS_CLOSE, fd).Ignore(syscall.EBADF)
	b.Call("set stdin", unix.SYS_DUP3, b.Stdio(0), Imm(0), Imm(0))
	b.Call("change folder", unix.SYS_FCHDIR, b.File(f))
	b.Call("execute /x", unix.SYS_EXECVE, b.Str("/x"), b.Argv([]string{"/x", "y"}), b.Argv([]string{"A=b"}))
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestWireRoundTrip(t *testing.T) {
	p := sample(t)
	data, files := p.Marshal()
	got, err := Unmarshal(data, files)
	if err != nil {
		t.Fatal(err)
	}
	opt := cmp.AllowUnexported(Program{}, call{}, arg{}, reloc{})
	if diff := cmp.Diff(p, got, opt, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b *os.File) bool { return a == b })); diff != "" {
		t.Errorf("after the round trip:\n%s", diff)
	}
	again, _ := got.Marshal()
	if string(again) != string(data) {
		t.Error("the second wire form differs")
	}
	for n := range data {
		if _, err := Unmarshal(data[:n], files); !errors.Is(err, errdefs.ErrInvalid) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := Unmarshal(data, nil); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("without its files: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	exec := call{nr: unix.SYS_EXECVE}
	one := func(a arg) []call {
		return []call{{nr: unix.SYS_GETPID}, {nr: unix.SYS_CLOSE, nargs: 1, args: [maxArgs]arg{a}}, exec}
	}
	tests := []struct {
		name   string
		calls  []call
		relocs []reloc
	}{
		{"nothing", nil, nil},
		{"no execve at the end", []call{{nr: unix.SYS_GETPID}}, nil},
		{"clone", []call{{nr: unix.SYS_CLONE}, exec}, nil},
		{"clone3", []call{{nr: unix.SYS_CLONE3}, exec}, nil},
		{"exit", []call{{nr: unix.SYS_EXIT_GROUP}, exec}, nil},
		{"number", []call{{nr: opEnd}, exec}, nil},
		{"checkpoint without a tag", []call{{nr: opCheckpoint}, exec}, nil},
		{"checkpoint that ignores", []call{{nr: opCheckpoint, nargs: 2, ignore: []uint16{1}}, exec}, nil},
		{"arguments", []call{{nr: 1, nargs: 7}, exec}, nil},
		{"ignore 0", []call{{nr: 1, ignore: []uint16{0}}, exec}, nil},
		{"long step", []call{{step: strings.Repeat("x", maxStep+1)}, exec}, nil},
		{"own result", one(arg{argReg, 1}), nil},
		{"later result", one(arg{argReg, 2}), nil},
		{"pointer behind the arena", one(arg{argPtr, 64}), nil},
		{"huge pointer", one(arg{argPtr, 1 << 63}), nil},
		{"file", one(arg{argFile, 2}), nil},
		{"stdio", one(arg{argStdio, 3}), nil},
		{"kind", one(arg{argKinds, 0}), nil},
		{"odd relocation", []call{exec}, []reloc{{4, arg{argPtr, 0}}}},
		{"relocation behind the arena", []call{exec}, []reloc{{64, arg{argPtr, 0}}}},
		{"relocation that wraps", []call{exec}, []reloc{{0xfffffff8, arg{argPtr, 0}}}},
		{"relocation of a result", []call{exec}, []reloc{{0, arg{argReg, 0}}}},
		{"relocation to nowhere", []call{exec}, []reloc{{0, arg{argPtr, 64}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := verify(tt.calls, tt.relocs, 64, 2); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := verify(one(arg{argReg, 0}), []reloc{{56, arg{argPtr, 63}}}, 64, 2); err != nil {
		t.Errorf("a good program: %v", err)
	}
}

func TestBuilderReports(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *Builder)
		kind  error
	}{
		{"NUL in a string", func(b *Builder) { b.Call("x", unix.SYS_CHDIR, b.Str("a\x00b")) }, errdefs.ErrInvalid},
		{"foreign argument", func(b *Builder) { b.Call("x", unix.SYS_CHDIR, NewBuilder().Str("a")) }, errdefs.ErrBug},
		{"seven arguments", func(b *Builder) { b.Call("x", 1, Null(), Null(), Null(), Null(), Null(), Null(), Null()) }, errdefs.ErrBug},
		{"nil file", func(b *Builder) { b.Call("x", unix.SYS_FCHDIR, b.File(nil)) }, errdefs.ErrBug},
		{"stdio 3", func(b *Builder) { b.Call("x", unix.SYS_CLOSE, b.Stdio(3)) }, errdefs.ErrBug},
		{"reference outside", func(b *Builder) { b.Struct(make([]byte, 8), map[int]Arg{8: b.Str("x")}) }, errdefs.ErrBug},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBuilder()
			tt.build(b)
			b.Call("execute", unix.SYS_EXECVE, b.Str("/x"), b.Argv(nil), b.Argv(nil))
			if _, err := b.Program(); !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want kind %v", err, tt.kind)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBuilderCloseClosesFiles(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBuilder()
	b.File(f)
	b.File(f)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file was not closed: %v", err)
	}
}

func TestGaps(t *testing.T) {
	all := uintptr(^uint32(0))
	tests := []struct {
		keep numbers
		want [][2]uintptr
	}{
		{numbers{report: -1, answer: -1}, [][2]uintptr{{3, all}}},
		{numbers{program: []int{3}, report: -1, answer: -1, cgroup: 8}, [][2]uintptr{{4, all}}},
		{numbers{program: []int{9}, stdio: [3]int{5, 5, -1}, report: 6, answer: -1}, [][2]uintptr{{3, 4}, {7, 8}, {10, all}}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.keep.gaps()); diff != "" {
			t.Errorf("gaps of %+v:\n%s", tt.keep, diff)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	p := sample(f)
	data, _ := p.Marshal()
	f.Add(data, 1)
	f.Fuzz(func(t *testing.T, data []byte, nfiles int) {
		if nfiles < 0 || nfiles > 8 {
			return
		}
		files := make([]*os.File, nfiles)
		p, err := Unmarshal(data, files)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("kind of %v", err)
			}
			return
		}
		if _, err := newImage(p, Options{}, numbers{program: make([]int, nfiles), stdio: [3]int{3, 4, 5}}, 0); err != nil {
			t.Errorf("a verified program can't be laid out: %v", err)
		}
		again, _ := p.Marshal()
		if q, err := Unmarshal(again, files); err != nil || len(q.calls) != len(p.calls) {
			t.Errorf("a program does not survive the round trip: %v", err)
		}
	})
}
