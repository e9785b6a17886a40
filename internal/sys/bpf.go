package sys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BPFInsn is struct bpf_insn (linux/bpf.h). Jumps and arithmetic are the 32-bit ones, which zero the upper halves and
// compare as unsigned 32-bit values.
type BPFInsn struct {
	code uint8
	regs uint8 // dst in the low half, src in the high one; the kernel's bit field on little-endian machines
	off  int16
	imm  int32
}

func insn(code, dst, src uint8, off int16, imm int32) BPFInsn {
	return BPFInsn{code: code, regs: dst | src<<4, off: off, imm: imm}
}

// BPFLoadWord is dst = *(u32 *)(src + off).
func BPFLoadWord(dst, src uint8, off int16) BPFInsn {
	return insn(unix.BPF_LDX|unix.BPF_MEM|unix.BPF_W, dst, src, off, 0)
}

// BPFMov is dst = src.
func BPFMov(dst, src uint8) BPFInsn {
	return insn(unix.BPF_ALU|unix.BPF_MOV|unix.BPF_X, dst, src, 0, 0)
}

// BPFMovImm is dst = imm.
func BPFMovImm(dst uint8, imm int32) BPFInsn {
	return insn(unix.BPF_ALU|unix.BPF_MOV|unix.BPF_K, dst, 0, 0, imm)
}

// BPFAndImm is dst &= imm.
func BPFAndImm(dst uint8, imm int32) BPFInsn {
	return insn(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, dst, 0, 0, imm)
}

// BPFRightShiftImm is dst >>= imm.
func BPFRightShiftImm(dst uint8, imm int32) BPFInsn {
	return insn(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, dst, 0, 0, imm)
}

// BPFJumpEqualImm jumps if dst == imm; see JumpTo for where.
func BPFJumpEqualImm(dst uint8, imm int32) BPFInsn {
	return insn(unix.BPF_JMP32|unix.BPF_JEQ|unix.BPF_K, dst, 0, 0, imm)
}

// BPFJumpNotEqualImm jumps if dst != imm; see JumpTo for where.
func BPFJumpNotEqualImm(dst uint8, imm int32) BPFInsn {
	return insn(unix.BPF_JMP32|unix.BPF_JNE|unix.BPF_K, dst, 0, 0, imm)
}

// BPFExit returns r0.
func BPFExit() BPFInsn { return insn(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0, 0) }

// JumpTo sets the target of a conditional jump that stands at index from; other instructions stay as they are.
func (i *BPFInsn) JumpTo(from, target int) {
	if i.code&7 == unix.BPF_JMP32 {
		i.off = int16(target - from - 1)
	}
}

// progLoadAttr is the part of union bpf_attr that BPF_PROG_LOAD needs.
type progLoadAttr struct {
	progType   uint32
	insnCount  uint32
	insns      uint64
	license    uint64
	logLevel   uint32
	logSize    uint32
	logBuf     uint64
	kernVer    uint32
	flags      uint32
	name       [16]byte
	ifindex    uint32
	attachType uint32
}

// progAttachAttr is the part of union bpf_attr that BPF_PROG_ATTACH needs.
type progAttachAttr struct {
	target, prog, attachType, flags, replaces uint32
}

// deviceFilter is the name under which the kernel lists our programs.
const deviceFilter = "berth_devices"

// AttachDeviceFilter loads prog as a cgroup device filter and attaches it to a cgroup2 folder (Linux 4.15, BPF_JMP32
// 5.1). One that an earlier call attached there is replaced by it in one step (BPF_F_REPLACE, Linux 5.6); others', which
// have to agree with it, stay. It holds until the group is removed. On a refusal by the verifier the error holds its log.
func AttachDeviceFilter(cgroup *Dir, prog []BPFInsn) (err error) {
	if len(prog) == 0 {
		return unix.EINVAL
	}
	fd, err := loadDeviceFilter(prog)
	if err != nil {
		return fmt.Errorf("load program: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	attr := progAttachAttr{
		target: uint32(cgroup.fd), prog: uint32(fd), attachType: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI,
	}
	old, err := attachedFilter(cgroup)
	if err != nil {
		return fmt.Errorf("look for an earlier program: %w", err)
	}
	if old >= 0 {
		defer func() { err = errors.Join(err, unix.Close(old)) }()
		attr.flags, attr.replaces = attr.flags|unix.BPF_F_REPLACE, uint32(old)
	}
	_, err = bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(cgroup)
	return err
}

func loadDeviceFilter(prog []BPFInsn) (int, error) {
	license := []byte("Apache-2.0\x00")
	attr := progLoadAttr{
		progType:   unix.BPF_PROG_TYPE_CGROUP_DEVICE,
		insnCount:  uint32(len(prog)),
		attachType: unix.BPF_CGROUP_DEVICE,
	}
	copy(attr.name[:], deviceFilter)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&prog[0])
	pin.Pin(&license[0])
	attr.insns, attr.license = address(unsafe.Pointer(&prog[0])), address(unsafe.Pointer(&license[0]))
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err == nil || errors.Is(err, unix.EPERM) {
		return fd, err
	}
	log := make([]byte, 64<<10)
	pin.Pin(&log[0])
	attr.logLevel, attr.logSize, attr.logBuf = 1, uint32(len(log)), address(unsafe.Pointer(&log[0]))
	fd, again := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if again == nil {
		return fd, nil
	}
	text, _, _ := bytes.Cut(log, []byte{0})
	return -1, fmt.Errorf("%w: %s", err, text)
}

func address(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }

func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := syscall.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR, unix.EAGAIN: // EAGAIN: the verifier was interrupted
			continue
		}
		if errno == unix.ENOSYS {
			return -1, os.NewSyscallError("bpf", errno)
		}
		return -1, errno
	}
}
