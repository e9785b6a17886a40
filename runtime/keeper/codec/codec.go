package codec

import (
	"encoding/binary"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Encoder appends values to Data.
type Encoder struct{ Data []byte }

// U8 appends one byte.
func (e *Encoder) U8(v uint8) { e.Data = append(e.Data, v) }

// U16 appends two bytes.
func (e *Encoder) U16(v uint16) { e.Data = binary.LittleEndian.AppendUint16(e.Data, v) }

// U32 appends four bytes.
func (e *Encoder) U32(v uint32) { e.Data = binary.LittleEndian.AppendUint32(e.Data, v) }

// U64 appends eight bytes.
func (e *Encoder) U64(v uint64) { e.Data = binary.LittleEndian.AppendUint64(e.Data, v) }

// Bool appends a truth value.
func (e *Encoder) Bool(v bool) {
	if v {
		e.U8(1)
		return
	}
	e.U8(0)
}

// Str appends a text behind its length.
func (e *Encoder) Str(s string) {
	e.U32(uint32(len(s)))
	e.Data = append(e.Data, s...)
}

// Time appends a time in nanoseconds since 1970; 0 is the zero time.
func (e *Encoder) Time(t time.Time) {
	if t.IsZero() {
		e.U64(0)
		return
	}
	e.U64(uint64(t.UnixNano()))
}

// Decoder takes values off the front of Data.
type Decoder struct {
	Data []byte
	Err  error // the first, of kind errdefs.ErrInvalid
}

// Fail notes an error, if it is the first.
func (d *Decoder) Fail(format string, args ...any) {
	if d.Err == nil {
		d.Err = errdefs.Invalid("decode message: "+format, args...)
	}
}

func (d *Decoder) take(n int) []byte {
	if d.Err != nil || n > len(d.Data) {
		d.Fail("%d bytes are missing", n-len(d.Data))
		return make([]byte, min(n, 8))
	}
	v := d.Data[:n]
	d.Data = d.Data[n:]
	return v
}

// U8 takes one byte.
func (d *Decoder) U8() uint8 { return d.take(1)[0] }

// U16 takes two bytes.
func (d *Decoder) U16() uint16 { return binary.LittleEndian.Uint16(d.take(2)) }

// U32 takes four bytes.
func (d *Decoder) U32() uint32 { return binary.LittleEndian.Uint32(d.take(4)) }

// U64 takes eight bytes.
func (d *Decoder) U64() uint64 { return binary.LittleEndian.Uint64(d.take(8)) }

// Bool takes a truth value: 0 or 1.
func (d *Decoder) Bool() bool {
	v := d.U8()
	if v > 1 {
		d.Fail("%d is not a truth value", v)
	}
	return v == 1
}

// Str takes a text of at most limit bytes; what is its name in errors.
func (d *Decoder) Str(what string, limit int) string {
	n := d.U32()
	if uint64(n) > uint64(limit) {
		d.Fail("%s of %d bytes, more than %d", what, n, limit)
		return ""
	}
	if d.Err != nil || int(n) > len(d.Data) {
		d.Fail("%s is cut off", what)
		return ""
	}
	return string(d.take(int(n)))
}

// Count takes the number of elements of a list, each of which takes at least size bytes.
func (d *Decoder) Count(what string, size int) int {
	n := d.U32()
	if d.Err == nil && uint64(n)*uint64(size) > uint64(len(d.Data)) {
		d.Fail("%d %s in %d bytes", n, what, len(d.Data))
	}
	if d.Err != nil {
		return 0
	}
	return int(n)
}

// Time takes what [Encoder.Time] has written.
func (d *Decoder) Time() time.Time {
	v := d.U64()
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(v))
}

// End returns the error, which may be that something is left.
func (d *Decoder) End() error {
	if d.Err == nil && len(d.Data) > 0 {
		d.Fail("%d bytes too many", len(d.Data))
	}
	return d.Err
}
