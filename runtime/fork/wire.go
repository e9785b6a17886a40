package fork

import (
	"encoding/binary"
	"os"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// The wire form, little-endian: magic, five counts, the calls, the relocations, the arena, the step texts.
const (
	wireMagic   = 0x31504642 // "BFP1"
	headerBytes = 4 + 5*4
	callBytes   = 4 + 1 + 1 + 2 + 4 + maxArgs*9 + maxIgnore*2 // nr, nargs, nignore, -, length of step, args, ignored
	relocBytes  = 4 + 1 + 8
)

// Marshal returns the program's wire form and its files, which stay the program's.
func (p *Program) Marshal() (data []byte, files []*os.File) {
	le := binary.LittleEndian
	steps := 0
	for i := range p.calls {
		steps += len(p.calls[i].step)
	}
	d := make([]byte, 0, headerBytes+len(p.calls)*callBytes+len(p.relocs)*relocBytes+len(p.arena)+steps)
	for _, n := range []int{wireMagic, len(p.calls), len(p.relocs), len(p.arena), len(p.files), steps} {
		d = le.AppendUint32(d, uint32(n))
	}
	for i := range p.calls {
		d = appendCall(d, &p.calls[i])
	}
	for _, r := range p.relocs {
		d = le.AppendUint32(d, r.at)
		d = append(d, byte(r.kind))
		d = le.AppendUint64(d, r.val)
	}
	d = append(d, p.arena...)
	for i := range p.calls {
		d = append(d, p.calls[i].step...)
	}
	return d, p.files
}

func appendCall(d []byte, c *call) []byte {
	le := binary.LittleEndian
	d = le.AppendUint32(d, c.nr)
	d = append(d, c.nargs, byte(len(c.ignore)), 0, 0)
	d = le.AppendUint32(d, uint32(len(c.step)))
	for _, a := range c.args {
		d = append(d, byte(a.kind))
		d = le.AppendUint64(d, a.val)
	}
	for i := range maxIgnore {
		e := uint16(0)
		if i < len(c.ignore) {
			e = c.ignore[i]
		}
		d = le.AppendUint16(d, e)
	}
	return d
}

// Unmarshal is the opposite of [Program.Marshal]. It trusts nothing: counts, offsets, kinds and registers are bounded and
// verified, and everything is copied out of data. On success the program owns the files, on error the caller does.
// The error is of kind errdefs.ErrInvalid.
func Unmarshal(data []byte, files []*os.File) (*Program, error) {
	le := binary.LittleEndian
	if len(data) < headerBytes || le.Uint32(data) != wireMagic {
		return nil, errdefs.Invalid("decode program: %d bytes without the right beginning", len(data))
	}
	var n [5]int
	for i := range n {
		n[i] = int(le.Uint32(data[4+4*i:]))
	}
	calls, relocs, arena, nfiles, steps := n[0], n[1], n[2], n[3], n[4]
	if calls > maxCalls || relocs > maxRelocs || arena > maxArena || steps > maxSteps || nfiles != len(files) {
		return nil, errdefs.Invalid("decode program: %d calls, %d pointers, %d bytes, %d files (%d came), %d bytes of steps are out of bounds",
			calls, relocs, arena, nfiles, len(files), steps)
	}
	if want := headerBytes + calls*callBytes + relocs*relocBytes + arena + steps; len(data) != want {
		return nil, errdefs.Invalid("decode program: %d bytes, expected %d", len(data), want)
	}
	body := data[headerBytes:]
	rest := body[calls*callBytes:]
	text := string(rest[relocs*relocBytes+arena:])
	cs := make([]call, calls)
	for i := range cs {
		length, err := decodeCall(&cs[i], body[i*callBytes:(i+1)*callBytes])
		if err != nil {
			return nil, err
		}
		if length > len(text) {
			return nil, errdefs.Invalid("decode program: the step texts are too short")
		}
		cs[i].step, text = text[:length], text[length:]
	}
	if text != "" {
		return nil, errdefs.Invalid("decode program: %d bytes of step texts too many", len(text))
	}
	rs := make([]reloc, relocs)
	for i := range rs {
		r := rest[i*relocBytes:]
		rs[i] = reloc{at: le.Uint32(r), arg: arg{argKind(r[4]), le.Uint64(r[5:])}}
	}
	return newProgram(cs, rs, rest[relocs*relocBytes:relocs*relocBytes+arena], files)
}

func decodeCall(c *call, d []byte) (stepLength int, err error) {
	le := binary.LittleEndian
	c.nr, c.nargs = le.Uint32(d), d[4]
	ignored := int(d[5])
	if c.nargs > maxArgs || ignored > maxIgnore {
		return 0, errdefs.Invalid("decode program: a call with %d arguments that ignores %d errors", c.nargs, ignored)
	}
	stepLength = int(le.Uint32(d[8:]))
	if stepLength > maxStep {
		return 0, errdefs.Invalid("decode program: a step text of %d bytes", stepLength)
	}
	d = d[12:]
	for i := range c.args {
		c.args[i] = arg{argKind(d[0]), le.Uint64(d[1:])}
		d = d[9:]
	}
	for i := range ignored {
		c.ignore = append(c.ignore, le.Uint16(d[2*i:]))
	}
	return stepLength, nil
}
