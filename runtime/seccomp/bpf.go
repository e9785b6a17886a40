package seccomp

import "encoding/binary"

// instruction is struct sock_filter of linux/filter.h.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// Opcodes of linux/bpf_common.h, of those that a seccomp filter may have.
const (
	ldAbs = 0x20 // BPF_LD | BPF_W | BPF_ABS
	andK  = 0x54 // BPF_ALU | BPF_AND | BPF_K
	ja    = 0x05 // BPF_JMP | BPF_JA
	jeq   = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	jgt   = 0x25 // BPF_JMP | BPF_JGT | BPF_K
	jge   = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	retK  = 0x06 // BPF_RET | BPF_K
)

// Offsets in struct seccomp_data of linux/seccomp.h. Both machines are little-endian.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

const (
	maxInstructions  = 4096 // BPF_MAXINSNS
	instructionBytes = 8
)

// target is where a branch of a comparison goes.
type target uint8

const (
	toNext target = iota // to the next instruction
	toPass               // behind the comparison: it holds
	toFail               // behind the rule
)

// step is an instruction of a comparison whose distances are not known yet.
type step struct {
	instruction
	onTrue, onFalse target
}

func loadArg(index uint, half uint32) step {
	return step{instruction: instruction{code: ldAbs, k: offArgs + 8*uint32(index) + half}}
}

func and(mask uint32) step { return step{instruction: instruction{code: andK, k: mask}} }

func branch(op uint16, k uint32, onTrue, onFalse target) step {
	return step{instruction{code: op, k: k}, onTrue, onFalse}
}

func ret(action uint32) instruction { return instruction{code: retK, k: action} }

// encode returns the program as the kernel takes it.
func encode(program []instruction) []byte {
	out := make([]byte, 0, len(program)*instructionBytes)
	for _, i := range program {
		out = binary.NativeEndian.AppendUint16(out, i.code)
		out = append(out, i.jt, i.jf)
		out = binary.NativeEndian.AppendUint32(out, i.k)
	}
	return out
}
