package handover

import (
	"encoding/binary"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/codec"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// Sizes of the smallest elements of lists.
const (
	smallestConn    = 4 * 4
	smallestEvent   = 1 + 4
	smallestPartial = 4 + 1 + 4
	smallestProcess = 8 + 4 + 1 + 1 + 4 + 1
	smallestClient  = 6*4 + 1
)

// firstFile is the smallest number that a handed-over file can have.
const firstFile = 3

type decoder struct{ codec.Decoder }

// Decode is the opposite of [State.Encode]. Kinds of errors: errdefs.ErrInvalid, and errdefs.ErrNotSupported if the form is of another
// version.
func Decode(data []byte) (*State, error) {
	le := binary.LittleEndian
	if len(data) < headerBytes || le.Uint32(data) != magic {
		return nil, errdefs.Invalid("read a keeper's state: %d bytes without the right beginning", len(data))
	}
	if v := le.Uint32(data[4:]); v != Version {
		return nil, errdefs.NotSupported("read a keeper's state: it is of version %d, not %d", v, Version)
	}
	body := data[headerBytes:]
	if int64(len(body)) != int64(le.Uint32(data[8:])) || checksum(body) != le.Uint32(data[12:]) {
		return nil, errdefs.Invalid("read a keeper's state: %d bytes are not what was written", len(body))
	}
	d := decoder{codec.Decoder{Data: body}}
	s := &State{Protocol: d.U32(), Lock: d.file(), Listener: d.file()}
	for range d.Count("connections", smallestConn) {
		s.Conns = append(s.Conns, d.conn())
	}
	for range d.Count("processes", smallestProcess) {
		s.Processes = append(s.Processes, d.process())
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	return s, s.verify()
}

// verify finds what stands for two things.
func (s *State) verify() error {
	seen := make(map[sys.Raw]bool)
	for _, f := range s.Files() {
		if seen[f] {
			return errdefs.Invalid("read a keeper's state: file %d is there twice", f)
		}
		seen[f] = true
	}
	known := make(map[uint64]bool, len(s.Processes))
	for i := range s.Processes {
		seq := s.Processes[i].Seq
		if seq == 0 || known[seq] {
			return errdefs.Invalid("read a keeper's state: process %d is none, or there twice", seq)
		}
		known[seq] = true
	}
	return nil
}

func (d *decoder) file() sys.Raw {
	f := sys.Raw(int32(d.U32()))
	if d.Err == nil && f != sys.NoFile && f < firstFile {
		d.Fail("%d is no handed-over file", f)
	}
	if d.Err != nil {
		return sys.NoFile
	}
	return f
}

func (d *decoder) bytes(what string, limit int) []byte {
	s := d.Str(what, limit)
	if s == "" {
		return nil
	}
	return []byte(s)
}

func (d *decoder) conn() Conn {
	c := Conn{Socket: d.file(), Owed: d.U32()}
	for range d.Count("events", smallestEvent) {
		c.Events = append(c.Events, Event{wire.Type(d.U8()), d.bytes("event", wire.MaxPayload)})
	}
	for range d.Count("messages' files", smallestPartial) {
		p := Partial{Number: d.U32(), Lost: d.Bool()}
		for range d.Count("files", 4) {
			p.Files = append(p.Files, d.file())
		}
		c.Partial = append(c.Partial, p)
	}
	return c
}

const maxExit = wire.MaxText + 64

func (d *decoder) process() Process {
	p := Process{Seq: d.U64(), Pidfd: d.file(), Exited: d.Bool(), Told: d.Bool()}
	exit, err := wire.DecodeExit(d.bytes("exit", maxExit))
	if d.Err == nil && err != nil {
		d.Err = err
	}
	p.Exit = exit
	if d.Bool() {
		p.Stdio = d.stdio()
	}
	return p
}

func (d *decoder) stdio() *Stdio {
	s := &Stdio{Log: d.file(), In: d.file(), Out: [2]sys.Raw{d.file(), d.file()}, Closing: d.Bool(), Finished: d.Bool()}
	s.Partial, s.Lost = d.bytes("unfinished line", MaxBytes), d.U64()
	for range d.Count("clients", smallestClient) {
		c := Client{In: d.file(), Pending: d.bytes("input", MaxBytes)}
		for j := range c.Out {
			c.Out[j], c.Queue[j] = d.file(), d.bytes("output", MaxBytes)
		}
		c.First = d.Bool()
		s.Clients = append(s.Clients, c)
	}
	return s
}
