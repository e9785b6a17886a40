package journal

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// Start says that a process was started, and what a successor needs to take it over.
type Start struct {
	Seq       uint64 // unique among all starts in this state folder; never 0
	ID        string
	PID       int
	StartTime uint64
	At        time.Time

	Managed  bool // the rest is set for managed stdio only
	Terminal bool
	Stdin    bool
	Once     bool
	Dir      string
	LogPath  string
	Slot     uint32 // of the shared cursors
}

// Record is a Start, an end, or a Forget: one of the pointers, or Forget, is set.
type Record struct {
	Start  *Start
	Ended  uint64 // Seq of the process whose end Exit tells
	Exit   wire.Exit
	Forget uint64 // Seq
}

const (
	kindStart  = 1
	kindExit   = 2
	kindForget = 3

	fileMagic   = "BERTHJ1\n"
	frameBytes  = 8 // length and CRC-32C of the payload
	maxRecord   = 16 << 10
	maxFileSize = 256 << 20
)

func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

// appendRecord appends the framed binary form.
func appendRecord(d []byte, r *Record) []byte {
	at := len(d)
	d = append(d, make([]byte, frameBytes)...)
	switch {
	case r.Start != nil:
		d = appendStart(append(d, kindStart), r.Start)
	case r.Ended != 0:
		d = binary.LittleEndian.AppendUint64(append(d, kindExit), r.Ended)
		d = wire.AppendExit(d, r.Exit)
	default:
		d = binary.LittleEndian.AppendUint64(append(d, kindForget), r.Forget)
	}
	payload := d[at+frameBytes:]
	binary.LittleEndian.PutUint32(d[at:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(d[at+4:], checksum(payload))
	return d
}

func appendStart(d []byte, s *Start) []byte {
	le := binary.LittleEndian
	d = le.AppendUint64(d, s.Seq)
	d = le.AppendUint64(d, uint64(s.PID))
	d = le.AppendUint64(d, s.StartTime)
	d = le.AppendUint64(d, uint64(s.At.UnixNano()))
	d = le.AppendUint32(d, s.Slot)
	var flags byte
	for i, on := range []bool{s.Managed, s.Terminal, s.Stdin, s.Once} {
		if on {
			flags |= 1 << i
		}
	}
	d = append(d, flags)
	for _, text := range []string{s.ID, s.Dir, s.LogPath} {
		d = le.AppendUint16(d, uint16(len(text)))
		d = append(d, text...)
	}
	return d
}

// next splits one record off data. ok is false if what is there is not a whole record.
func next(data []byte) (r Record, rest []byte, ok bool) {
	if len(data) < frameBytes {
		return Record{}, data, false
	}
	n := binary.LittleEndian.Uint32(data)
	if n == 0 || n > maxRecord || uint64(n) > uint64(len(data)-frameBytes) {
		return Record{}, data, false
	}
	payload := data[frameBytes : frameBytes+int(n)]
	if checksum(payload) != binary.LittleEndian.Uint32(data[4:]) {
		return Record{}, data, false
	}
	r, err := decodeRecord(payload)
	return r, data[frameBytes+int(n):], err == nil
}

func decodeRecord(p []byte) (Record, error) {
	kind, p := p[0], p[1:]
	if len(p) < 8 {
		return Record{}, errdefs.Invalid("journal record of %d bytes", len(p)+1)
	}
	seq := binary.LittleEndian.Uint64(p)
	if seq == 0 {
		return Record{}, errdefs.Invalid("journal record without a process")
	}
	switch kind {
	case kindStart:
		s, err := decodeStart(p)
		return Record{Start: s}, err
	case kindExit:
		x, err := wire.DecodeExit(p[8:])
		return Record{Ended: seq, Exit: x}, err
	case kindForget:
		if len(p) != 8 {
			return Record{}, errdefs.Invalid("journal record of %d bytes", len(p)+1)
		}
		return Record{Forget: seq}, nil
	default:
		return Record{}, errdefs.Invalid("journal record of kind %d", kind)
	}
}

func decodeStart(p []byte) (*Start, error) {
	le := binary.LittleEndian
	const fixed = 8 + 8 + 8 + 8 + 4 + 1
	if len(p) < fixed {
		return nil, errdefs.Invalid("journal start record of %d bytes", len(p))
	}
	flags := p[36]
	s := &Start{
		Seq: le.Uint64(p), PID: int(int32(le.Uint64(p[8:]))), StartTime: le.Uint64(p[16:]),
		At: time.Unix(0, int64(le.Uint64(p[24:]))), Slot: le.Uint32(p[32:]),
		Managed: flags&1 != 0, Terminal: flags&2 != 0, Stdin: flags&4 != 0, Once: flags&8 != 0,
	}
	p = p[fixed:]
	for _, to := range []*string{&s.ID, &s.Dir, &s.LogPath} {
		if len(p) < 2 || len(p)-2 < int(le.Uint16(p)) {
			return nil, errdefs.Invalid("journal start record is cut off")
		}
		n := int(le.Uint16(p))
		*to, p = string(p[2:2+n]), p[2+n:]
	}
	if len(p) > 0 || flags > 15 || s.ID == "" || s.PID <= 0 {
		return nil, errdefs.Invalid("journal start record of process %q has a bad form", s.ID)
	}
	return s, nil
}
