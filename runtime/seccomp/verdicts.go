package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// verdict is what becomes of a call: of the rules the first that applies, else ret.
type verdict struct {
	rules []rule
	ret   uint32
}

// span is a range of numbers with one verdict; it ends where the next one begins.
type span struct {
	first uint32
	verdict
	wide bool
}

// spans puts the verdicts of ABIs that share an audit architecture into one list that covers all numbers, in order.
func (p *profile) spans(abis []abi, t table) []span {
	var list []span
	for i := range abis {
		list = append(list, p.spansOf(&abis[i], t)...)
	}
	if last := abis[len(abis)-1].last; last != noCall { // x86-64 without x32
		list = append(list, span{first: last + 1, verdict: verdict{ret: retKillThread}},
			span{first: noCall, verdict: verdict{ret: p.def}})
	}
	return slices.CompactFunc(list, func(a, b span) bool { return a.rules == nil && b.rules == nil && a.ret == b.ret })
}

// spansOf lays the calls of a profile over what is said of all others.
func (p *profile) spansOf(a *abi, t table) []span {
	calls, newest := p.calls(a, t)
	others := []span{{first: a.first, verdict: verdict{ret: p.def}}}
	if newest > 0 && !passes(p.def) {
		others = append(others, span{first: newest + 1, verdict: verdict{ret: retENOSYS}})
		if a.private > 0 {
			others = append(others, span{first: a.private, verdict: verdict{ret: p.def}})
		}
	}
	firsts := make([]uint32, 0, 2*len(calls)+len(others))
	for _, o := range others {
		firsts = append(firsts, o.first)
	}
	for nr := range calls {
		firsts = append(firsts, nr)
		if nr != a.last {
			firsts = append(firsts, nr+1)
		}
	}
	slices.Sort(firsts)
	list := make([]span, 0, len(firsts))
	for _, first := range slices.Compact(firsts) {
		for len(others) > 1 && others[1].first <= first {
			others = others[1:]
		}
		s := span{first, others[0].verdict, a.wide}
		if v := calls[first]; v != nil {
			s.verdict = *v
		}
		list = append(list, s)
	}
	return list
}

// calls returns the verdicts of those that the profile names, by number, and the newest number among them.
func (p *profile) calls(a *abi, t table) (calls map[uint32]*verdict, newest uint32) {
	calls = make(map[uint32]*verdict, len(p.rules))
	add := func(nr uint32, r rule) {
		if v := calls[nr]; v == nil {
			calls[nr] = &verdict{ret: p.def}
		}
		calls[nr].add(r, p.def, a.wide)
	}
	for _, r := range p.rules {
		nr, ok := t.number(r.name, a)
		if ok && (a.private == 0 || nr < a.private) {
			newest = max(newest, nr)
		}
		if r.ret == p.def {
			continue
		}
		if ok {
			add(nr, r)
		}
		if in, ok := t.parts[r.name]; ok && a.muxed {
			if nr, ok := t.number(in.of, a); ok {
				add(nr, r.inside(in.n))
			}
		}
	}
	return calls, newest
}

// add puts one more rule behind those that there are. Once there is a verdict without conditions, that is it.
func (v *verdict) add(r rule, def uint32, wide bool) {
	if v.ret != def {
		return
	}
	r.conds = slices.DeleteFunc(slices.Clone(r.conds), func(c condition) bool { return c.always(wide) })
	if len(r.conds) == 0 {
		*v = verdict{ret: r.ret}
		return
	}
	v.rules = append(v.rules, r)
}

// inside returns the rule for the call that this one is number n of.
func (r rule) inside(n uint64) rule {
	conds := []condition{{index: 0, op: specs.OpEqualTo, mask: ^uint64(0), value: n}}
	for _, c := range r.conds {
		if c.index != 0 {
			conds = append(conds, c)
		}
	}
	r.conds = conds
	return r
}
