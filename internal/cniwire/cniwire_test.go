package cniwire_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/cniwire"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestMessages(t *testing.T) {
	var wire bytes.Buffer
	calls := []cniwire.Call{{Environ: []string{"A=1", "B="}, Stdin: []byte("{}")}, {Stdin: []byte("x")}, {Environ: []string{"A=2"}, Stdin: []byte{}}}
	for _, c := range calls {
		if err := cniwire.WriteCall(&wire, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range calls {
		if got, err := cniwire.ReadCall(&wire); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("call %v, %v; want %v", got, err, want)
		}
	}
	if _, err := cniwire.ReadCall(&wire); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last call: %v", err)
	}
	long := strings.Repeat("a", cniwire.MaxStderr) + "b"
	if err := cniwire.WriteReply(&wire, cniwire.Reply{Status: 3, Stdout: []byte("out"), Stderr: []byte(long)}); err != nil {
		t.Fatal(err)
	}
	if got, err := cniwire.ReadReply(&wire); err != nil || got.Status != 3 || string(got.Stdout) != "out" || string(got.Stderr) != long[1:] {
		t.Errorf("reply %d, %q, %d bytes, %v", got.Status, got.Stdout, len(got.Stderr), err)
	}
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	for name, err := range map[string]error{
		"environment":   cniwire.WriteCall(io.Discard, cniwire.Call{Environ: []string{strings.Repeat("a", 6<<20+1)}}),
		"configuration": cniwire.WriteCall(io.Discard, cniwire.Call{Stdin: make([]byte, 16<<20+1)}),
		"result":        cniwire.WriteReply(io.Discard, cniwire.Reply{Stdout: make([]byte, 4<<20+1)}),
	} {
		if !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, header := range []string{"\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff", "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if _, err := cniwire.ReadCall(strings.NewReader(header)); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("call %q: %v", header, err)
		}
		if _, err := cniwire.ReadReply(strings.NewReader(header)); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("reply %q: %v", header, err)
		}
	}
	if _, err := cniwire.ReadReply(strings.NewReader("\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00out")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a reply: %v", err)
	}
	if err := cniwire.ReadHello(strings.NewReader(`{"code": 4, "msg": "CNI_COMMAND is not set"}`)); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a plugin that doesn't serve: %v", err)
	}
	if err := cniwire.ReadHello(strings.NewReader(cniwire.Hello)); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	var call, reply bytes.Buffer
	if err := errors.Join(
		cniwire.WriteCall(&call, cniwire.Call{Environ: []string{"A=1", "B=2"}, Stdin: []byte("{}")}),
		cniwire.WriteReply(&reply, cniwire.Reply{Status: 1, Stdout: []byte("out"), Stderr: []byte("err")}),
	); err != nil {
		f.Fatal(err)
	}
	f.Add(call.Bytes())
	f.Add(reply.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := cniwire.ReadReply(bytes.NewReader(data)); err == nil {
			var again bytes.Buffer
			if err := cniwire.WriteReply(&again, p); err != nil || !bytes.HasPrefix(data, again.Bytes()) {
				t.Fatalf("%v became %q, %v", p, again.Bytes(), err)
			}
		}
		if c, err := cniwire.ReadCall(bytes.NewReader(data)); err == nil {
			var again bytes.Buffer
			if err := cniwire.WriteCall(&again, c); err != nil || !bytes.HasPrefix(data, again.Bytes()) {
				t.Fatalf("%v became %q, %v", c, again.Bytes(), err)
			}
		}
	})
}
