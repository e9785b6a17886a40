package seccomp

import (
	"slices"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// maxJump is the longest distance of a conditional jump.
const maxJump = 255

// program writes a profile down for the ABIs of a machine.
func (p *profile) program(m machine, t table) ([]instruction, error) {
	var audits []uint32
	groups := make(map[uint32][]abi)
	for _, a := range m.with(p.archs) {
		if groups[a.audit] == nil {
			audits = append(audits, a.audit)
		}
		groups[a.audit] = append(groups[a.audit], a)
	}
	rest := []instruction{ret(retKillThread)}
	for _, audit := range slices.Backward(audits) { // the native one is asked for first
		section := []instruction{{code: ldAbs, k: offNumber}}
		section = append(section, tree(p.spans(groups[audit], t))...)
		rest = choose(jeq, audit, section, rest)
	}
	out := append([]instruction{{code: ldAbs, k: offArch}}, rest...)
	if len(out) > maxInstructions {
		return nil, errdefs.Invalid("linux.seccomp.syscalls: the program has %d instructions, the kernel takes %d", len(out), maxInstructions)
	}
	return out, nil
}

// tree finds the span that has the number, which is in the accumulator.
func tree(spans []span) []instruction {
	if out, ok := block(spans); ok {
		return out
	}
	if len(spans) == 1 {
		return spans[0].code()
	}
	middle := len(spans) / 2
	return choose(jge, spans[middle].first, tree(spans[middle:]), tree(spans[:middle]))
}

// block is a tree whose verdicts are written once each, behind all comparisons: the time that the kernel takes to install a filter
// goes by its length. It says false if there would be one too far away to jump to.
func block(spans []span) (out []instruction, ok bool) {
	var verdicts []instruction
	known := make(map[string]int) // where in verdicts one is, by its code
	list := make([]choice, len(spans))
	for i := range spans {
		code := spans[i].code()
		key := string(encode(code))
		if _, ok := known[key]; !ok {
			known[key] = len(verdicts)
			verdicts = append(verdicts, code...)
		}
		list[i] = choice{spans[i].first, known[key]}
	}
	if out, ok = search(list, len(verdicts)); !ok {
		return nil, false
	}
	return append(out, verdicts...), true
}

// choose runs yes if the comparison of the accumulator with k holds, else no. Neither runs out of its end.
func choose(op uint16, k uint32, yes, no []instruction) []instruction {
	if len(no) <= maxJump {
		return slices.Concat([]instruction{{code: op, k: k, jt: uint8(len(no))}}, no, yes)
	}
	if len(yes) <= maxJump {
		return slices.Concat([]instruction{{code: op, k: k, jf: uint8(len(yes))}}, yes, no)
	}
	return slices.Concat([]instruction{{code: op, k: k, jf: 1}, {code: ja, k: uint32(len(no))}}, no, yes)
}

// code returns the verdict, or finds it by the arguments.
func (s *span) code() []instruction {
	var out []instruction
	for rules := s.rules; len(rules) > 0; {
		n := together(rules, s.wide)
		if n == 1 {
			out = append(out, rules[0].code(s.wide)...)
		} else {
			out = append(out, anyOf(rules[:n], s.wide)...)
		}
		rules = rules[n:]
	}
	return append(out, ret(s.ret))
}
