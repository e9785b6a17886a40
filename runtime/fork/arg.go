package fork

// argKind says how the value of an argument is found when the program runs.
type argKind uint8

const (
	argImm   argKind = iota // the value itself
	argPtr                  // offset in the arena
	argFile                 // index in the table of files
	argStdio                // 0, 1, 2: the launcher's stdio
	argReg                  // index of an earlier call, whose return value it is
	argKinds                // how many there are
)

// Arg is one argument of a call. Arguments belong to the builder that made them, except [Imm] and [Null].
type Arg struct {
	kind argKind
	val  uint64
	of   *Builder // nil for immediate values
}

// Imm returns an argument with the given value.
func Imm(v uint64) Arg { return Arg{kind: argImm, val: v} }

// Int returns an argument with a signed value, such as AT_FDCWD.
func Int(v int) Arg { return Imm(uint64(int64(v))) }

// Null returns a null pointer.
func Null() Arg { return Imm(0) }

const maxArgs = 6

// call is one system call of a program.
type call struct {
	step   string
	nr     uint32
	nargs  uint8
	args   [maxArgs]arg
	ignore []uint16 // errnos that are no failure
}

type arg struct {
	kind argKind
	val  uint64
}

// reloc puts the value of an argument into 8 bytes of the arena before the program runs.
type reloc struct {
	at uint32 // 8-aligned offset
	arg
}
