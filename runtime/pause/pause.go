// Package pause holds the program that keeps a shared PID namespace open: its init, of a few hundred bytes, which reaps
// what is left to it and does nothing else. It is written in machine code, as DESIGN.md wants at most 100 KiB a pod for
// it, and a Go program takes six times that.
//
// The package owns no process and keeps no state; [Root] makes what a container that runs the program is made of.
package pause

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Path is where the program is in the root that [Root] makes.
const Path = "/pause"

// Root returns a new detached, read-only mount of a file system with nothing in it but the program, all of it with an
// SELinux context unless that is "". The caller owns it.
func Root(label string) (_ *os.File, err error) {
	program, err := Program(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	fs, err := sys.Fsopen("tmpfs")
	if err != nil {
		return nil, fmt.Errorf("make the root of a pause process: %w", err)
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	options := [][2]string{{"mode", "0555"}, {"size", "16k"}, {"nr_inodes", "4"}}
	if label != "" {
		options = append(options, [2]string{"context", label})
	}
	for _, o := range options {
		if err := fs.SetString(o[0], o[1]); err != nil {
			return nil, fmt.Errorf("make the root of a pause process: option %s: %w", o[0], err)
		}
	}
	root, err := fs.Mount("pause root", sys.MountNosuid|sys.MountNodev)
	if err != nil {
		return nil, fmt.Errorf("make the root of a pause process: %w", err)
	}
	if err := fill(root, program); err != nil {
		return nil, errors.Join(fmt.Errorf("make the root of a pause process: %w", err), root.Close())
	}
	return root, nil
}

// fill writes the program and makes the mount read-only, which the kernel refuses while it has a writer.
func fill(root *os.File, program []byte) error {
	if err := write(root, program); err != nil {
		return err
	}
	return sys.MountSetattr(root, sys.MountAttr{Set: sys.MountRdonly}, false)
}

func write(root *os.File, program []byte) error {
	// A child that this process forks meanwhile would hold the open file until its execve, as close-on-exec works then, and be
	// a writer for that long.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := sys.Openat2(root, Path[1:], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o555, sys.ResolveBeneath)
	if err != nil {
		return err
	}
	_, err = f.Write(program)
	return errors.Join(err, f.Chmod(0o555), f.Close())
}

// Program returns the program, a static ELF file, for a GOARCH.
func Program(arch string) ([]byte, error) {
	switch arch {
	case "amd64":
		return elf(62, amd64()), nil
	case "arm64":
		return elf(183, arm64()), nil
	}
	return nil, errdefs.NotSupported("no pause program for %q", arch)
}

// amd64 ignores SIGCHLD, so that the kernel reaps children by itself, and waits forever. A signal's default action does
// nothing to the init of a PID namespace (pid_namespaces(7)).
func amd64() []byte {
	code := []byte{
		0xb8, 0x0d, 0x00, 0x00, 0x00, // mov eax, 13          rt_sigaction(
		0xbf, 0x11, 0x00, 0x00, 0x00, // mov edi, 17            SIGCHLD,
		0x48, 0x8d, 0x35, 0x17, 0x00, 0x00, 0x00, // lea rsi, [rip+23]  action,
		0x31, 0xd2, // xor edx, edx            NULL,
		0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8     8)
		0x0f, 0x05, // syscall
		0xb8, 0x22, 0x00, 0x00, 0x00, // mov eax, 34          pause()
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp -9
	}
	const actionAt = 40 // 17 to the end of lea, and the 23 in it
	return append(pad(code, actionAt), action()...)
}

// arm64 does the same. It has no pause(2), but ppoll(2) of nothing.
func arm64() []byte {
	words := []uint32{
		0xd2800220, // mov x0, #17           SIGCHLD
		0x10000181, // adr x1, #48           action
		0xd2800002, // mov x2, #0
		0xd2800103, // mov x3, #8
		0xd28010c8, // mov x8, #134          rt_sigaction
		0xd4000001, // svc #0
		0xd2800000, // mov x0, #0
		0xd2800001, // mov x1, #0
		0xd2800002, // mov x2, #0
		0xd2800003, // mov x3, #0
		0xd2800928, // mov x8, #73           ppoll
		0xd4000001, // svc #0
		0x17fffffa, // b -6
	}
	var b bytes.Buffer
	for _, w := range words {
		b.Write(binary.LittleEndian.AppendUint32(nil, w))
	}
	return append(b.Bytes(), action()...)
}

// action is struct kernel_sigaction with SIG_IGN and SA_NOCLDWAIT; restorer and mask are zero.
func action() []byte {
	b := binary.LittleEndian.AppendUint64(nil, 1)
	return append(binary.LittleEndian.AppendUint64(b, 2), make([]byte, 16)...)
}

func pad(b []byte, n int) []byte { return append(b, make([]byte, n-len(b))...) }

// elf wraps code into an executable of one read-only segment that holds the whole file.
func elf(machine uint16, code []byte) []byte {
	const (
		base   = 0x400000
		header = 64 + 56
	)
	size := uint64(header + len(code))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	for _, v := range []any{
		uint16(2), machine, uint32(1), uint64(base + header), uint64(64), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0), // ELF header
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // PT_LOAD, R+X
	} {
		// A bytes.Buffer takes every write, and the values are of fixed size.
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(code)
	return b.Bytes()
}
