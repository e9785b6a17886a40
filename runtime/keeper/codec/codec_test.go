package codec_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/keeper/codec"
)

func TestRoundTrip(t *testing.T) {
	at := time.Unix(12, 34)
	var e codec.Encoder
	e.U8(1)
	e.U16(2)
	e.U32(3)
	e.U64(4)
	e.Bool(true)
	e.Str("five")
	e.Time(at)
	e.Time(time.Time{})
	e.U32(1)
	e.U8(9)
	d := codec.Decoder{Data: e.Data}
	if d.U8() != 1 || d.U16() != 2 || d.U32() != 3 || d.U64() != 4 || !d.Bool() || d.Str("text", 4) != "five" ||
		!d.Time().Equal(at) || !d.Time().IsZero() || d.Count("things", 1) != 1 || d.U8() != 9 {
		t.Error("a value has changed")
	}
	if err := d.End(); err != nil {
		t.Error(err)
	}
	for n := range e.Data {
		d := codec.Decoder{Data: e.Data[:n]}
		if decodeAll(&d); !errors.Is(d.End(), errdefs.ErrInvalid) {
			t.Errorf("cut off at %d: %v", n, d.Err)
		}
	}
}

func decodeAll(d *codec.Decoder) {
	d.U8()
	d.U16()
	d.U32()
	d.U64()
	d.Bool()
	d.Str("text", 4)
	d.Time()
	d.Time()
	for range d.Count("things", 1) {
		d.U8()
	}
}

// FuzzDecoder looks for a form that takes more memory than it has bytes, or does not end.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 'a'})
	f.Add(bytes.Repeat([]byte{0xff}, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := codec.Decoder{Data: data}
		if s := d.Str("text", 1<<20); len(s) > len(data) {
			t.Fatalf("a text of %d bytes in %d", len(s), len(data))
		}
		if n := d.Count("things", 4); n*4 > len(data) {
			t.Fatalf("%d things in %d bytes", n, len(data))
		}
		if d.Err != nil && !errors.Is(d.Err, errdefs.ErrInvalid) {
			t.Fatal(d.Err)
		}
	})
}
