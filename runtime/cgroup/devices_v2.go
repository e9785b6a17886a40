package cgroup

import (
	"slices"

	"github.com/berth-runtime/berth/internal/sys"
)

// program compiles the rules for BPF_PROG_TYPE_CGROUP_DEVICE. Its context is struct bpf_cgroup_dev_ctx (linux/bpf.h):
// access<<16|type, major, minor, each 32 bits; it returns 1 to allow.
//
// The last rule comes first. An open for reading and writing asks for both at once: a denying rule decides as soon as it
// speaks of any operation that is still undecided, an allowing one takes its operations off that set and decides when
// none is left. So a later rule can cut a part out of a wider one, which v1's lists can't say.
func (l *deviceRules) program() []sys.BPFInsn {
	const r0, r1, r2, r3, r4, r5 = 0, 1, 2, 3, 4, 5
	prog := []sys.BPFInsn{
		sys.BPFLoadWord(r2, r1, 0),
		sys.BPFMov(r3, r2),
		sys.BPFAndImm(r2, 0xffff),    // type
		sys.BPFRightShiftImm(r3, 16), // operations that are undecided
		sys.BPFLoadWord(r4, r1, 4),
		sys.BPFLoadWord(r5, r1, 8),
	}
	for _, r := range slices.Backward(l.list) {
		prog = append(prog, r.block()...)
	}
	return append(prog, sys.BPFMovImm(r0, truth(l.allow)), sys.BPFExit())
}

// block is one rule; any jump out goes past its end.
func (r deviceRule) block() []sys.BPFInsn {
	const r0, r1, r2, r3, r4, r5 = 0, 1, 2, 3, 4, 5
	const blockDevice, charDevice = 1, 2 // BPF_DEVCG_DEV_*
	kind := int32(charDevice)
	if r.set.kind == 'b' {
		kind = blockDevice
	}
	body := []sys.BPFInsn{sys.BPFJumpNotEqualImm(r2, kind)}
	if r.set.major != anyNumber {
		body = append(body, sys.BPFJumpNotEqualImm(r4, int32(uint32(r.set.major))))
	}
	if r.set.minor != anyNumber {
		body = append(body, sys.BPFJumpNotEqualImm(r5, int32(uint32(r.set.minor))))
	}
	if r.allow {
		body = append(body, sys.BPFAndImm(r3, int32(allAccess&^r.a)), sys.BPFJumpNotEqualImm(r3, 0))
	} else {
		body = append(body, sys.BPFMov(r1, r3), sys.BPFAndImm(r1, int32(r.a)), sys.BPFJumpEqualImm(r1, 0))
	}
	body = append(body, sys.BPFMovImm(r0, truth(r.allow)), sys.BPFExit())
	for i := range body {
		body[i].JumpTo(i, len(body))
	}
	return body
}

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
