package seccomp

import (
	"cmp"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxTogether is how many rules are written as one: so many that no jump is too long.
const maxTogether = 100

// interval is what a condition lets an argument be: upper is its upper half, low to high its lower one.
type interval struct{ upper, low, high uint32 }

// interval returns it; false for conditions that hold for nothing, or for more than one upper half. There is none where arguments
// are not wide.
func (c condition) interval(wide bool) (interval, bool) {
	v := interval{low: uint32(c.value), high: uint32(c.value)}
	if wide {
		v.upper = uint32(c.value >> 32)
	}
	switch c.op {
	case specs.OpEqualTo:
		return v, true
	case specs.OpLessThan:
		v.low, v.high = 0, v.high-1
		return v, v.upper == 0 && v.high != 1<<32-1
	case specs.OpLessEqual:
		v.low = 0
		return v, v.upper == 0
	}
	return v, false
}

// together returns how many rules from the first on can be written as one: those that have one action, for intervals of one argument with
// one upper half.
func together(rules []rule, wide bool) int {
	only := func(r rule) (v interval, ok bool) {
		if len(r.conds) != 1 {
			return v, false
		}
		return r.conds[0].interval(wide)
	}
	first, ok := only(rules[0])
	if !ok {
		return 1
	}
	n := 1
	for _, r := range rules[1:min(len(rules), maxTogether)] {
		v, ok := only(r)
		if !ok || v.upper != first.upper || r.ret != rules[0].ret || r.conds[0].index != rules[0].conds[0].index {
			break
		}
		n++
	}
	return n
}

// anyOf returns the program of rules that together has counted. As a rule's, it goes on behind itself.
func anyOf(rules []rule, wide bool) []instruction {
	list := make([]interval, len(rules))
	for i, r := range rules {
		list[i], _ = r.conds[0].interval(wide)
	}
	c := rules[0].conds[0]
	const holds, fails = 0, 1                             // what is behind the comparisons: the action, and what comes behind the rules
	search, _ := search(cover(list, holds, fails), fails) // never too long
	var out []instruction
	if wide {
		out = append(out, loadArg(c.index, 4).instruction, instruction{code: jeq, k: list[0].upper, jf: uint8(len(search) + 2)})
	}
	out = append(append(out, loadArg(c.index, 0).instruction), search...)
	return append(out, ret(rules[0].ret))
}

// cover returns choices for all values: inside for those in one of the intervals.
func cover(list []interval, inside, outside int) []choice {
	slices.SortFunc(list, func(a, b interval) int { return cmp.Compare(a.low, b.low) })
	var out []choice
	next := uint64(0) // what follows the intervals so far
	for _, v := range list {
		if uint64(v.low) > next {
			out = append(out, choice{uint32(next), outside})
		}
		if len(out) == 0 || out[len(out)-1].to == outside {
			out = append(out, choice{v.low, inside})
		}
		next = max(next, uint64(v.high)+1)
	}
	if next < 1<<32 {
		out = append(out, choice{uint32(next), outside})
	}
	return out
}
