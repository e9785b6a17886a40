package plan

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// MemoryPolicy is what set_mempolicy(2) gets.
type MemoryPolicy struct {
	Mode  uint32 // with its flags
	Nodes []int
}

// maxNodes is MAX_NUMNODES of the largest configuration. The kernel wants all bits above its own to be zero.
const maxNodes = 1024

// Of linux/mempolicy.h.
const (
	mpolStaticNodes   = 1 << 15
	mpolRelativeNodes = 1 << 14
	mpolNumaBalancing = 1 << 13
)

// MemoryModes lists the modes of memory policies.
func MemoryModes() []string { return texts(memoryModes()) }

// MemoryFlags lists the flags of memory policies.
func MemoryFlags() []string {
	return texts([]specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing, specs.MpolFRelativeNodes, specs.MpolFStaticNodes})
}

func texts[T ~string](list []T) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	slices.Sort(out)
	return out
}

// memoryModes are in the order of the kernel's numbers.
func memoryModes() []specs.MemoryPolicyModeType {
	return []specs.MemoryPolicyModeType{
		specs.MpolDefault, specs.MpolPreferred, specs.MpolBind, specs.MpolInterleave, specs.MpolLocal,
		specs.MpolPreferredMany, specs.MpolWeightedInterleave,
	}
}

// newMemoryPolicy reads linux.memoryPolicy; nil leaves what the forking process has. What the kernel would answer with
// EINVAL is refused here, by the field's name.
func newMemoryPolicy(p *specs.LinuxMemoryPolicy) (*MemoryPolicy, error) {
	if p == nil {
		return nil, nil
	}
	out := &MemoryPolicy{}
	for i, m := range memoryModes() {
		if m == p.Mode {
			out.Mode = uint32(i)
		}
	}
	if memoryModes()[out.Mode] != p.Mode {
		return nil, errdefs.Invalid("linux.memoryPolicy.mode: %q is no mode of set_mempolicy(2)", p.Mode)
	}
	nodes, err := parseNumbers("linux.memoryPolicy.nodes", p.Nodes, maxNodes)
	if err != nil {
		return nil, err
	}
	out.Nodes = nodes
	for i, f := range p.Flags {
		switch f {
		case specs.MpolFStaticNodes:
			out.Mode |= mpolStaticNodes
		case specs.MpolFRelativeNodes:
			out.Mode |= mpolRelativeNodes
		case specs.MpolFNumaBalancing:
			out.Mode |= mpolNumaBalancing
		default:
			return nil, errdefs.Invalid("linux.memoryPolicy.flags[%d]: %q is no flag of set_mempolicy(2)", i, f)
		}
	}
	return out, out.check(p.Mode)
}

func (p *MemoryPolicy) check(mode specs.MemoryPolicyModeType) error {
	const placed = mpolStaticNodes | mpolRelativeNodes
	switch {
	case p.Mode&placed == placed:
		return errdefs.Invalid("linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other")
	case p.Mode&mpolNumaBalancing != 0 && mode != specs.MpolBind && mode != specs.MpolPreferredMany:
		return errdefs.Invalid("linux.memoryPolicy.flags: MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not for %s", mode)
	}
	switch mode {
	case specs.MpolDefault, specs.MpolLocal:
		if len(p.Nodes) > 0 {
			return errdefs.Invalid("linux.memoryPolicy.nodes: %s takes no nodes", mode)
		}
	case specs.MpolPreferred: // without nodes it means the local one
	default:
		if len(p.Nodes) == 0 {
			return errdefs.Invalid("linux.memoryPolicy.nodes: missing, %s needs at least one node", mode)
		}
	}
	if len(p.Nodes) == 0 && p.Mode&placed != 0 {
		return errdefs.Invalid("linux.memoryPolicy.flags: say how nodes are meant, but linux.memoryPolicy.nodes is empty")
	}
	return nil
}

func (w *writer) memoryPolicy(p *MemoryPolicy) {
	if p == nil {
		return
	}
	mask, bits := fork.Null(), 0
	if len(p.Nodes) > 0 {
		mask, bits = w.b.Bytes(sys.Bitmap(p.Nodes, maxNodes)), maxNodes+1 // the kernel takes one less than it is told
	}
	w.b.Call("set the memory policy", sys.NrSetMempolicy, fork.Imm(uint64(p.Mode)), mask, fork.Int(bits))
}
