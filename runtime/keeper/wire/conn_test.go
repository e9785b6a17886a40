package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// pair returns two connected ends: a raw one to send anything, and one to receive properly.
func pair(t *testing.T) (*sys.Seqpacket, *Conn) {
	t.Helper()
	path := t.TempDir() + "/socket"
	l, err := sys.ListenSeqpacket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := sys.DialSeqpacket(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, NewConn(b, &sync.Pool{})
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestMessagesOfAllSizes(t *testing.T) {
	a, receiver := pair(t)
	sender := NewConn(a, &sync.Pool{})
	null, err := sys.RawOpen(os.DevNull, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := openFiles(t)
	for _, size := range []int{0, 1, maxInline, maxInline + 1, 1 << 20, MaxPayload} {
		for _, files := range []int{0, 1, sys.MaxPacketFiles - 1, sys.MaxPacketFiles, sys.MaxPacketFiles + 1, 1000} {
			want := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
			sent := make(chan error, 1)
			go func() {
				sent <- sender.Send(Message{Type: TypeStart, Number: 7, Payload: want, Files: slices.Repeat([]sys.Raw{null}, files)})
			}()
			err := receiver.Receive(func(m Message) error {
				if m.Type != TypeStart || m.Number != 7 || !bytes.Equal(m.Payload, want) || len(m.Files) != files {
					t.Errorf("%d bytes with %d files arrived as %d with %d", size, files, len(m.Payload), len(m.Files))
				}
				return sys.CloseRaw(m.Files)
			})
			if err := errors.Join(err, <-sent); err != nil {
				t.Fatalf("%d bytes with %d files: %v", size, files, err)
			}
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d before", after, before)
	}
	if err := sender.Send(Message{Payload: make([]byte, MaxPayload+1)}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a message too large: %v", err)
	}
	a.Close()
	if err := receiver.Receive(func(Message) error { return nil }); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// Whatever a packet holds, it is refused with its files closed.
func TestBadPackets(t *testing.T) {
	null, err := sys.RawOpen(os.DevNull, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	packet := func(typ Type, flags byte, length uint32, body int) []byte {
		p := []byte{byte(typ), flags, 0, 0, 9, 0, 0, 0}
		p = binary.LittleEndian.AppendUint32(p, length)
		return append(p, make([]byte, body)...)
	}
	tests := map[string]struct {
		data  []byte
		files int
	}{
		"short":                  {[]byte{1, 2, 3}, 1},
		"unknown flag":           {packet(TypeStart, 0x80, 0, 0), 1},
		"too long":               {packet(TypeStart, 0, MaxPayload+1, 0), 1},
		"wrong length":           {packet(TypeStart, 0, 5, 4), 1},
		"no memory file":         {packet(TypeStart, flagMemory, 5, 0), 0},
		"memory that can change": {packet(TypeStart, flagMemory, 5, 0), 1},
		"larger than a packet":   {packet(TypeStart, 0, maxInline+1, maxInline+1), 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, receiver := pair(t)
			before := openFiles(t)
			if err := a.Send(tt.data, slices.Repeat([]int{int(null)}, tt.files)); err != nil {
				t.Fatal(err)
			}
			err := receiver.Receive(func(Message) error { t.Error("it was taken"); return nil })
			if err == nil {
				t.Error("no error")
			}
			if after := openFiles(t); after != before {
				t.Errorf("%d files are open, %d before: %v", after, before, err)
			}
		})
	}
}

// Files without end, and for messages that never come, are bounded and closed.
func TestTooManyFiles(t *testing.T) {
	null, err := sys.RawOpen(os.DevNull, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, number := range map[string]func(i int) byte{"one message": func(int) byte { return 1 }, "many messages": func(i int) byte { return byte(i) }} {
		t.Run(name, func(t *testing.T) {
			a, receiver := pair(t)
			before := openFiles(t)
			go func() {
				for i := range 200 {
					p := []byte{byte(typeFiles), 0, 0, 0, number(i), 0, 0, 0, 0, 0, 0, 0}
					if err := a.Send(p, slices.Repeat([]int{int(null)}, 100)); err != nil {
						return // the receiver has had enough
					}
				}
			}()
			if err := receiver.Receive(func(Message) error { return nil }); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if err := errors.Join(receiver.Drop(), receiver.Close()); err != nil {
				t.Error(err)
			}
			if after := openFiles(t); after > before {
				t.Errorf("%d files are open, %d before", after, before)
			}
		})
	}
}
