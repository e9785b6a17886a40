package handover_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

func sample() *handover.State {
	return &handover.State{
		Protocol: wire.Version, Lock: 3, Listener: 4,
		Conns: []handover.Conn{
			{Socket: 5, Owed: 7, Events: []handover.Event{{Type: wire.TypeEvent, Payload: []byte("x")}}},
			{Socket: 6, Partial: []handover.Partial{{Number: 9, Files: []sys.Raw{7, 8}, Lost: true}}},
		},
		Processes: []handover.Process{
			{Seq: 1, Pidfd: 9, Stdio: &handover.Stdio{
				Log: 10, In: 11, Out: [2]sys.Raw{12, 13}, Closing: true, Partial: []byte("half a li"), Lost: 4,
				Clients: []handover.Client{{In: 14, Pending: []byte("a"), Out: [2]sys.Raw{15, sys.NoFile}, Queue: [2][]byte{[]byte("b"), nil}, First: true}},
			}},
			{Seq: 2, Pidfd: sys.NoFile, Exited: true, Told: true, Exit: wire.Exit{Code: 3, At: time.Unix(1, 2), Known: true}},
		},
	}
}

func encode(t testing.TB, s *handover.State) []byte {
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	got, err := handover.Decode(encode(t, want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v became %+v, %v", want, got, err)
	}
	if files := got.Files(); len(files) != 13 {
		t.Errorf("%d files: %v", len(files), files)
	}
}

// Whatever is changed, cut off or added is noticed.
func TestDamage(t *testing.T) {
	data := encode(t, sample())
	for i := range data {
		other := bytes.Clone(data)
		other[i] ^= 1
		if _, err := handover.Decode(other); err == nil {
			t.Errorf("byte %d changed, and nobody minds", i)
		}
		if _, err := handover.Decode(data[:i]); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("cut off at %d: %v", i, err)
		}
	}
	if _, err := handover.Decode(append(data, 0)); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a byte too many: %v", err)
	}
	binary.LittleEndian.PutUint32(data[4:], handover.Version+1)
	if _, err := handover.Decode(data); !errors.Is(err, errdefs.ErrNotSupported) {
		t.Errorf("another version: %v", err)
	}
}

func TestFilesStandForOneThing(t *testing.T) {
	for name, change := range map[string]func(*handover.State){
		"twice":        func(s *handover.State) { s.Listener = s.Lock },
		"stdin":        func(s *handover.State) { s.Lock = 0 },
		"negative":     func(s *handover.State) { s.Lock = -2 },
		"same process": func(s *handover.State) { s.Processes[1].Seq = 1 },
		"no process":   func(s *handover.State) { s.Processes[1].Seq = 0 },
	} {
		s := sample()
		change(s)
		if _, err := handover.Decode(encode(t, s)); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode puts the right head before any body, so that the checksum does not hide the rest.
func FuzzDecode(f *testing.F) {
	const head = 16
	f.Add(encode(f, sample())[head:])
	f.Add(encode(f, &handover.State{Lock: sys.NoFile, Listener: sys.NoFile})[head:])
	f.Fuzz(func(t *testing.T, body []byte) {
		data := encode(t, &handover.State{Lock: sys.NoFile, Listener: sys.NoFile})[:8]
		data = binary.LittleEndian.AppendUint32(data, uint32(len(body)))
		data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
		data = append(data, body...)
		s, err := handover.Decode(data)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		if again := encode(t, s); !bytes.Equal(data, again) {
			t.Fatalf("%x became %x", data, again)
		}
	})
}
