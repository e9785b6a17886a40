package seccomp

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// digest stands for a profile. Profiles come from users, so that nobody may make two with the same one.
type digest [sha256.Size]byte

// hasher writes values so that different lists of values are different bytes.
type hasher struct{ data []byte }

func (h *hasher) number(n uint64) { h.data = binary.AppendUvarint(h.data, n) }

func (h *hasher) text(s string) {
	h.number(uint64(len(s)))
	h.data = append(h.data, s...)
}

func (h *hasher) optional(n *uint) {
	if n == nil {
		h.number(0)
		return
	}
	h.number(1)
	h.number(uint64(*n))
}

// hash looks at every field of a profile.
func hash(p *specs.LinuxSeccomp) digest {
	h := hasher{make([]byte, 0, 8192)}
	h.text(string(p.DefaultAction))
	h.optional(p.DefaultErrnoRet)
	h.text(p.ListenerPath)
	h.text(p.ListenerMetadata)
	h.number(uint64(len(p.Architectures)))
	for _, a := range p.Architectures {
		h.text(string(a))
	}
	if p.Flags != nil {
		h.number(1)
	}
	h.number(uint64(len(p.Flags)))
	for _, f := range p.Flags {
		h.text(string(f))
	}
	h.number(uint64(len(p.Syscalls)))
	for i := range p.Syscalls {
		s := &p.Syscalls[i]
		h.text(string(s.Action))
		h.optional(s.ErrnoRet)
		h.number(uint64(len(s.Names)))
		for _, n := range s.Names {
			h.text(n)
		}
		h.number(uint64(len(s.Args)))
		for _, a := range s.Args {
			h.number(uint64(a.Index))
			h.number(a.Value)
			h.number(a.ValueTwo)
			h.text(string(a.Op))
		}
	}
	return sha256.Sum256(h.data)
}
