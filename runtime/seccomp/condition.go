package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// condition compares one argument: (argument & mask) op value.
type condition struct {
	index uint
	op    specs.LinuxSeccompOperator
	mask  uint64
	value uint64
}

func newCondition(field string, a specs.LinuxSeccompArg) (condition, error) {
	if a.Index >= maxArgs {
		return condition{}, errdefs.Invalid("%s.index: %d, a system call has %d arguments, from 0", field, a.Index, maxArgs)
	}
	c := condition{index: a.Index, op: a.Op, mask: ^uint64(0), value: a.Value}
	switch a.Op {
	case specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan:
	case specs.OpMaskedEqual:
		c.mask, c.value = a.Value, a.ValueTwo&a.Value
	case "":
		return c, errdefs.Invalid("%s.op: missing", field)
	default:
		return c, errdefs.Invalid("%s.op: unknown operator %q", field, a.Op)
	}
	return c, nil
}

// always tells whether a comparison under a mask sees nothing of the argument.
func (c condition) always(wide bool) bool {
	return c.op == specs.OpMaskedEqual && (c.mask == 0 || !wide && uint32(c.mask) == 0)
}

// code returns the comparison. Words are compared from the upper half down.
func (c condition) code(wide bool) []step {
	lo, hi := loadArg(c.index, 0), loadArg(c.index, 4)
	low, high := uint32(c.value), uint32(c.value>>32)
	// What follows is for "the condition holds"; its opposites change what is reached.
	yes, no := toPass, toFail
	if c.op == specs.OpNotEqual || c.op == specs.OpLessThan || c.op == specs.OpLessEqual {
		yes, no = toFail, toPass
	}
	switch c.op {
	case specs.OpEqualTo, specs.OpNotEqual:
		s := []step{lo, branch(jeq, low, yes, no)}
		if wide {
			s = append([]step{hi, branch(jeq, high, toNext, no)}, s...)
		}
		return s
	case specs.OpMaskedEqual:
		s := []step{lo, and(uint32(c.mask)), branch(jeq, low, yes, no)}
		if wide && c.mask>>32 != 0 {
			s = append([]step{hi, and(uint32(c.mask >> 32)), branch(jeq, high, toNext, no)}, s...)
		}
		return s
	}
	op := uint16(jgt) // of >, and of <= as its opposite
	if c.op == specs.OpGreaterEqual || c.op == specs.OpLessThan {
		op = jge
	}
	s := []step{lo, branch(op, low, yes, no)}
	if wide {
		s = append([]step{hi, branch(jgt, high, yes, toNext), branch(jeq, high, toNext, no)}, s...)
	}
	return s
}

// code returns the program of a rule: it returns the rule's action, or goes on behind it. Conditions that always hold must
// have been dropped.
func (r *rule) code(wide bool) []instruction {
	var steps []step
	var ends []int // where the condition of each step ends
	for _, c := range r.conds {
		steps = append(steps, c.code(wide)...)
		for len(ends) < len(steps) {
			ends = append(ends, len(steps))
		}
	}
	end := len(steps) + 1
	out := make([]instruction, 0, end)
	for i, s := range steps {
		distance := func(t target) uint8 {
			switch t {
			case toPass:
				return uint8(ends[i] - i - 1)
			case toFail:
				return uint8(end - i - 1)
			default:
				return 0
			}
		}
		s.jt, s.jf = distance(s.onTrue), distance(s.onFalse)
		out = append(out, s.instruction)
	}
	return append(out, ret(r.ret))
}
