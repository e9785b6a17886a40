package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// fuzz checks a decoder: what it takes, encodes to the same bytes again; what it refuses, it calls invalid.
func fuzz(f *testing.F, seed []byte, decode func([]byte) (encode func() []byte, err error)) {
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		encode, err := decode(data)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		if again := encode(); !bytes.Equal(data, again) {
			t.Fatalf("%x became %x", data, again)
		}
	})
}

func FuzzDecodeStart(f *testing.F) {
	m := sampleStart()
	fuzz(f, m.Encode(), func(d []byte) (func() []byte, error) {
		m, err := DecodeStart(d)
		return m.Encode, err
	})
}

func FuzzDecodeAttach(f *testing.F) {
	fuzz(f, (&Attach{"a", 3}).Encode(), func(d []byte) (func() []byte, error) {
		m, err := DecodeAttach(d)
		return m.Encode, err
	})
}

func FuzzDecodeAdopt(f *testing.F) {
	fuzz(f, (&Adopt{"a", 1}).Encode(), func(d []byte) (func() []byte, error) {
		m, err := DecodeAdopt(d)
		return m.Encode, err
	})
}

func FuzzDecodeResize(f *testing.F) {
	fuzz(f, (&Resize{"a", 80, 25}).Encode(), func(d []byte) (func() []byte, error) {
		m, err := DecodeResize(d)
		return m.Encode, err
	})
}

func FuzzDecodeName(f *testing.F) {
	fuzz(f, EncodeName("a"), func(d []byte) (func() []byte, error) {
		id, err := DecodeName(d)
		return func() []byte { return EncodeName(id) }, err
	})
}

func FuzzDecodeHello(f *testing.F) {
	fuzz(f, EncodeHello(1), func(d []byte) (func() []byte, error) {
		v, err := DecodeHello(d)
		return func() []byte { return EncodeHello(v) }, err
	})
}

func FuzzDecodeEvent(f *testing.F) {
	fuzz(f, (&Event{"a", Exit{Code: 1, At: at, Known: true, Reason: "x"}}).Encode(), func(d []byte) (func() []byte, error) {
		m, err := DecodeEvent(d)
		return m.Encode, err
	})
}

func FuzzDecodeStarted(f *testing.F) {
	fuzz(f, (&Started{1, 2, at}).Encode(), func(d []byte) (func() []byte, error) {
		m, err := DecodeStarted(d)
		return m.Encode, err
	})
}

func FuzzDecodeProcesses(f *testing.F) {
	fuzz(f, EncodeProcesses([]Process{{ID: "a", At: at}}), func(d []byte) (func() []byte, error) {
		list, err := DecodeProcesses(d)
		return func() []byte { return EncodeProcesses(list) }, err
	})
}

func FuzzDecodeReply(f *testing.F) {
	f.Add(EncodeReply([]byte("x"), nil))
	f.Add(EncodeReply(nil, errdefs.NotFound("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if result, err := DecodeReply(data); err == nil && len(result) >= len(data) {
			t.Fatal("a result as long as the reply")
		}
	})
}

// FuzzAssemble feeds a connection packets: each is a byte, which says whether its files got lost, a length, and so many bytes.
func FuzzAssemble(f *testing.F) {
	f.Add([]byte{0, 14, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 'a', 'b'})
	f.Add([]byte{1, 12, byte(typeFiles), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, flagMore, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewConn(nil, nil)
		for len(data) >= 2 {
			n := min(int(data[1]), len(data)-2)
			p := sys.Packet{Data: data[2 : 2+n], Lost: data[0]&1 != 0}
			data = data[2+n:]
			m, whole, err := c.assemble(p)
			if err != nil {
				if whole || !errors.Is(err, errdefs.ErrInvalid) {
					t.Fatalf("%v, whole: %t", err, whole)
				}
				return // the connection ends
			}
			if whole && m.Err == nil && len(m.Payload) > n {
				t.Fatalf("a payload of %d bytes in %d", len(m.Payload), n)
			}
			if len(c.partial) > maxAssembled || len(c.lost) > maxAssembled {
				t.Fatalf("%d messages wait for more, %d are lost", len(c.partial), len(c.lost))
			}
		}
	})
}

func FuzzDecodeHeader(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHeader(data)
		if err == nil && (h.length < 0 || h.length > MaxPayload || h.flags&^allFlags != 0) {
			t.Fatalf("%+v is out of bounds", h)
		}
	})
}
