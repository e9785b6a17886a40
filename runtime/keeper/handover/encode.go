package handover

import (
	"hash/crc32"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/codec"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

const (
	magic       = 0x484b4842 // "BHKH"
	headerBytes = 4 * 4      // magic, version, length and checksum of the rest

	// MaxBytes bounds a state: what waits for clients that read slowly is the largest part of it.
	MaxBytes = 256 << 20
)

func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

type encoder struct{ codec.Encoder }

// Encode returns the binary form. Kind errdefs.ErrExhausted: it is too large.
func (s *State) Encode() ([]byte, error) {
	var e encoder
	e.U32(s.Protocol)
	e.file(s.Lock)
	e.file(s.Listener)
	e.U32(uint32(len(s.Conns)))
	for i := range s.Conns {
		e.conn(&s.Conns[i])
	}
	e.U32(uint32(len(s.Processes)))
	for i := range s.Processes {
		e.process(&s.Processes[i])
	}
	if len(e.Data) > MaxBytes {
		return nil, errdefs.New(errdefs.ErrExhausted, "the keeper's state takes %d bytes, more than %d", len(e.Data), MaxBytes)
	}
	var head codec.Encoder
	head.U32(magic)
	head.U32(Version)
	head.U32(uint32(len(e.Data)))
	head.U32(checksum(e.Data))
	return append(head.Data, e.Data...), nil
}

func (e *encoder) file(f sys.Raw) { e.U32(uint32(f)) }

func (e *encoder) bytes(p []byte) {
	e.U32(uint32(len(p)))
	e.Data = append(e.Data, p...)
}

func (e *encoder) conn(c *Conn) {
	e.file(c.Socket)
	e.U32(c.Owed)
	e.U32(uint32(len(c.Events)))
	for _, v := range c.Events {
		e.U8(uint8(v.Type))
		e.bytes(v.Payload)
	}
	e.U32(uint32(len(c.Partial)))
	for _, p := range c.Partial {
		e.U32(p.Number)
		e.Bool(p.Lost)
		e.U32(uint32(len(p.Files)))
		for _, f := range p.Files {
			e.file(f)
		}
	}
}

func (e *encoder) process(p *Process) {
	e.U64(p.Seq)
	e.file(p.Pidfd)
	e.Bool(p.Exited)
	e.Bool(p.Told)
	e.bytes(wire.AppendExit(nil, p.Exit))
	e.Bool(p.Stdio != nil)
	if p.Stdio != nil {
		e.stdio(p.Stdio)
	}
}

func (e *encoder) stdio(s *Stdio) {
	for _, f := range []sys.Raw{s.Log, s.In, s.Out[0], s.Out[1]} {
		e.file(f)
	}
	e.Bool(s.Closing)
	e.Bool(s.Finished)
	e.bytes(s.Partial)
	e.U64(s.Lost)
	e.U32(uint32(len(s.Clients)))
	for i := range s.Clients {
		c := &s.Clients[i]
		e.file(c.In)
		e.bytes(c.Pending)
		for j := range c.Out {
			e.file(c.Out[j])
			e.bytes(c.Queue[j])
		}
		e.Bool(c.First)
	}
}
