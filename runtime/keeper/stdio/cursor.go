package stdio

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/logs"
)

// Cursor is the shared memory in which one process's stdio keeps its unfinished lines and says what it is doing.
//
// A step is begun, then its records (if it has any) go into the log, then its bytes are taken out of the FIFO, then the
// length of the unfinished line is set, then it is ended. The checksum makes a beginning that was cut short look like none,
// which is right since nothing had been done yet; all that follows can be done twice.
type Cursor struct {
	slot  []byte
	holds [2][2][]byte // for the unfinished lines of stdout and stderr; one of each two is in use

	file      *os.File // that all this is in; nil: plain memory
	holdsAt   int      // where the holds begin in it
	allocated [2][2]int
}

// held says where an unfinished line is: its length, and in the highest bit which of the two buffers it is in.
type held uint16

const otherBuffer held = 1 << 15

const pageBytes = 4096

func (h held) len() int { return int(h &^ otherBuffer) }

func (h held) buffer() int { return int(h >> 15) }

// Places in a slot.
const (
	offState   = 0 // 1: a step is under way
	offMarker  = 1 // becomes the last byte that the step takes; before, that byte inverted
	offLast    = 2
	offStream  = 3
	offSum     = 4
	offLength  = 8
	offOut     = 12
	offAt      = 16
	offOffset  = 24
	offDev     = 32
	offIno     = 40
	offSeq     = 48
	offNewLine = 56
	offHeld    = 60 // two of 16 bits
)

// step is one movement of output: from the unfinished line and the FIFO into the log, or from the FIFO to the
// unfinished line.
type step struct {
	stream  logs.Stream
	length  int           // bytes to take out of the FIFO
	last    byte          // of these
	newLine held          // the unfinished line afterwards
	out     int           // bytes of records; 0: nothing goes into the log
	at      time.Time     // in the records
	log     logs.Identity // file they go to
	offset  int64         // length of the file before
}

// claim clears a slot unless it belongs to the process with the given sequence number.
func (c *Cursor) claim(seq uint64) *Cursor {
	if binary.LittleEndian.Uint64(c.slot[offSeq:]) != seq {
		clear(c.slot)
		binary.LittleEndian.PutUint64(c.slot[offSeq:], seq)
	}
	return c
}

// line returns the unfinished line of a stream.
func (c *Cursor) line(stream logs.Stream) []byte {
	h := c.held(stream)
	return c.holds[index(stream)][h.buffer()][:min(h.len(), holdBytes)]
}

func (c *Cursor) held(stream logs.Stream) held {
	return held(binary.LittleEndian.Uint16(c.slot[offHeld+2*index(stream):]))
}

// extendLine prepares a longer unfinished line. It does not count before a step has said so. ok is false if there is no
// memory for it.
func (c *Cursor) extendLine(stream logs.Stream, more []byte) (_ held, ok bool) {
	h := c.held(stream)
	return h + held(len(more)), c.put(stream, h.buffer(), h.len(), more)
}

// replaceLine prepares another unfinished line, in the other buffer, as extendLine does.
func (c *Cursor) replaceLine(stream logs.Stream, line []byte) (_ held, ok bool) {
	h := c.held(stream)&otherBuffer ^ otherBuffer
	return h + held(len(line)), c.put(stream, h.buffer(), 0, line)
}

// put copies data into a buffer at the given place.
func (c *Cursor) put(stream logs.Stream, buffer, at int, data []byte) bool {
	i := index(stream)
	room := &c.allocated[i][buffer]
	if need := at + len(data); c.file != nil && need > *room {
		need = (need + pageBytes - 1) &^ (pageBytes - 1)
		if err := sys.Allocate(c.file, int64(c.holdsAt+(2*i+buffer)*holdBytes), int64(need)); err != nil {
			return false
		}
		*room = need
	}
	return copy(c.holds[i][buffer][at:], data) == len(data)
}

func index(stream logs.Stream) int {
	if stream == logs.Stderr {
		return 1
	}
	return 0
}

func (c *Cursor) begin(k step) {
	le, s := binary.LittleEndian, c.slot
	s[offMarker], s[offLast], s[offStream] = ^k.last, k.last, byte(k.stream)
	le.PutUint32(s[offLength:], uint32(k.length))
	le.PutUint32(s[offOut:], uint32(k.out))
	le.PutUint64(s[offAt:], uint64(k.at.UnixNano()))
	le.PutUint64(s[offOffset:], uint64(k.offset))
	le.PutUint64(s[offDev:], k.log.Dev)
	le.PutUint64(s[offIno:], k.log.Ino)
	le.PutUint16(s[offNewLine:], uint16(k.newLine))
	le.PutUint32(s[offSum:], c.sum())
	s[offState] = 1
}

// finish ends a step whose bytes have been taken.
func (c *Cursor) finish(k step) {
	binary.LittleEndian.PutUint16(c.slot[offHeld+2*index(k.stream):], uint16(k.newLine))
	c.abandon()
}

// abandon ends a step of which nothing has been done.
func (c *Cursor) abandon() { c.slot[offState] = 0 }

// marker is where the last byte that a step takes is to be read to.
func (c *Cursor) marker() []byte { return c.slot[offMarker : offMarker+1] }

// taken reports whether the bytes of a step have left the FIFO.
func (c *Cursor) taken() bool { return c.slot[offMarker] != ^c.slot[offLast] }

// pending returns the step that was under way when the writer of the cursor stopped.
func (c *Cursor) pending() (step, bool) {
	le, s := binary.LittleEndian, c.slot
	k := step{
		stream:  logs.Stream(s[offStream]),
		length:  int(le.Uint32(s[offLength:])),
		last:    s[offLast],
		newLine: held(le.Uint16(s[offNewLine:])),
		out:     int(le.Uint32(s[offOut:])),
		at:      time.Unix(0, int64(le.Uint64(s[offAt:]))),
		log:     logs.Identity{Dev: le.Uint64(s[offDev:]), Ino: le.Uint64(s[offIno:])},
		offset:  int64(le.Uint64(s[offOffset:])),
	}
	ok := s[offState] == 1 && le.Uint32(s[offSum:]) == c.sum() &&
		(k.stream == logs.Stdout || k.stream == logs.Stderr) && k.length <= chunkBytes && k.newLine.len() < holdBytes && k.offset >= 0
	return k, ok
}

// sum covers what begin writes, but for the state, the marker and itself.
func (c *Cursor) sum() uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(c.slot[offLast:offSum], table), table, c.slot[offLength:offHeld])
}
