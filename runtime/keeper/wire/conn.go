package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// A packet is: type, flags, 2 spare bytes, number of the request, length of the payload; then the payload, unless it is in the
// first file.
const (
	packetHeader = 12
	flagMemory   = 1 << 0
	flagMore     = 1 << 1 // typeFiles packets with the same number come first
	allFlags     = flagMemory | flagMore

	// maxAssembled bounds the messages whose files have begun to arrive.
	maxAssembled = 64
)

// Message is one request, reply or event.
type Message struct {
	Type    Type
	Number  uint32
	Payload []byte    // valid only while the receiver's function runs
	Files   []sys.Raw // a sent message's stay the sender's; a received one's are the receiver's

	// Err is set if files of a received message got lost for lack of room: there is no Payload then, and there are no Files. Kind
	// errdefs.ErrExhausted.
	Err error
}

// Conn sends and receives messages of any size over a socket. Many goroutines may send, one may receive.
type Conn struct {
	socket  *sys.Seqpacket
	buffers *sync.Pool
	partial map[uint32][]sys.Raw // files that came ahead of their message; owned by the receiving goroutine
	lost    map[uint32]bool      // of these messages some got lost; owned by it too
}

// NewConn takes over the socket. Connections of one process share the pool, which may be the zero value.
func NewConn(socket *sys.Seqpacket, buffers *sync.Pool) *Conn {
	return &Conn{socket: socket, buffers: buffers, partial: make(map[uint32][]sys.Raw), lost: make(map[uint32]bool)}
}

// Close closes the socket; Receive and Send return an error.
func (c *Conn) Close() error { return c.socket.Close() }

// Send sends a message. It waits while the other end is slow.
func (c *Conn) Send(m Message) (err error) {
	if len(m.Payload) > MaxPayload || len(m.Files) > MaxFiles {
		return errdefs.Invalid("send message: %d bytes with %d files", len(m.Payload), len(m.Files))
	}
	files := make([]int, 0, len(m.Files)+1)
	var flags uint8
	body := m.Payload
	if len(body) > maxInline {
		memory, err := sys.SealedMemory("message", body)
		if err != nil {
			return fmt.Errorf("send message: memory file: %w", err)
		}
		defer func() { err = errors.Join(err, memory.Close()) }()
		flags |= flagMemory
		files = append(files, int(memory))
		body = nil
	}
	for _, f := range m.Files {
		files = append(files, int(f))
	}
	for len(files) > sys.MaxPacketFiles {
		if err := c.packet(typeFiles, 0, m.Number, 0, nil, files[:sys.MaxPacketFiles]); err != nil {
			return err
		}
		flags |= flagMore
		files = files[sys.MaxPacketFiles:]
	}
	return c.packet(m.Type, flags, m.Number, len(m.Payload), body, files)
}

func (c *Conn) packet(t Type, flags uint8, number uint32, length int, body []byte, files []int) error {
	p := make([]byte, 0, packetHeader+len(body))
	p = append(p, byte(t), flags, 0, 0)
	p = binary.LittleEndian.AppendUint32(p, number)
	p = binary.LittleEndian.AppendUint32(p, uint32(length))
	if err := c.socket.Send(append(p, body...), files); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Receive waits for a message and calls use with it. Anything wrong with what arrives is an error, after which the
// connection is good for nothing but Close. io.EOF: the other end has closed.
func (c *Conn) Receive(use func(Message) error) error {
	for {
		done := false
		err := c.socket.Receive(c.lend, func(p sys.Packet) error {
			m, whole, err := c.assemble(p)
			if err != nil || !whole {
				return err
			}
			done = true
			return use(m)
		})
		if err != nil || done {
			return err
		}
	}
}

func (c *Conn) lend(use func(buf []byte)) {
	buf, ok := c.buffers.Get().(*[]byte)
	if !ok {
		b := make([]byte, sys.PacketBuffer(maxPacket))
		buf = &b
	}
	use(*buf)
	c.buffers.Put(buf)
}

// Drop closes files that came for messages which will never be complete. It is for after the last Receive.
func (c *Conn) Drop() error {
	var errs []error
	for number, files := range c.partial {
		errs = append(errs, sys.CloseRaw(files))
		delete(c.partial, number)
	}
	return errors.Join(errs...)
}

// assemble makes a message of a packet and of the files that came before it.
func (c *Conn) assemble(p sys.Packet) (m Message, whole bool, err error) {
	data, files := p.Data, p.Files
	h, err := decodeHeader(data)
	if err != nil {
		return Message{}, false, errors.Join(err, sys.CloseRaw(files))
	}
	earlier := c.partial[h.number]
	if h.typ == typeFiles {
		if len(earlier)+len(files) > MaxFiles+1 || (earlier == nil && len(c.partial) >= maxAssembled) || len(c.lost) >= maxAssembled {
			return Message{}, false, errors.Join(errdefs.Invalid("receive message: too many files"), sys.CloseRaw(files))
		}
		c.partial[h.number] = append(earlier, files...)
		if p.Lost {
			c.lost[h.number] = true
		}
		return Message{}, false, nil
	}
	if p.Lost || c.lost[h.number] {
		delete(c.partial, h.number)
		delete(c.lost, h.number)
		err := errdefs.New(errdefs.ErrExhausted, "receive message: no room for its files: %w", syscall.EMFILE)
		return Message{Type: h.typ, Number: h.number, Err: err}, true, sys.CloseRaw(append(earlier, files...))
	}
	if h.flags&flagMore != 0 {
		delete(c.partial, h.number)
		files = append(earlier, files...)
	}
	m = Message{Type: h.typ, Number: h.number, Payload: data[packetHeader:], Files: files}
	if h.flags&flagMemory != 0 {
		err = m.fetch(h.length)
	} else if len(m.Payload) != h.length {
		err = errdefs.Invalid("receive message: %d bytes, expected %d", len(m.Payload), h.length)
	}
	if err != nil {
		return Message{}, false, errors.Join(err, sys.CloseRaw(m.Files))
	}
	return m, true, nil
}

// fetch replaces the payload by the content of the first file.
func (m *Message) fetch(length int) error {
	if len(m.Files) == 0 {
		return errdefs.Invalid("receive message: the payload's file is missing")
	}
	data, err := sys.ReadSealedMemory(m.Files[0], length)
	if err != nil {
		return errdefs.Invalid("receive message: payload: %w", err)
	}
	memory := m.Files[0]
	m.Files = m.Files[1:]
	m.Payload = data
	return memory.Close()
}

type header struct {
	typ    Type
	flags  uint8
	number uint32
	length int
}

func decodeHeader(data []byte) (header, error) {
	if len(data) < packetHeader {
		return header{}, errdefs.Invalid("receive message: a packet of %d bytes", len(data))
	}
	h := header{typ: Type(data[0]), flags: data[1], number: binary.LittleEndian.Uint32(data[4:])}
	length := binary.LittleEndian.Uint32(data[8:])
	if h.flags&^allFlags != 0 || length > MaxPayload {
		return header{}, errdefs.Invalid("receive message: flags %#x, %d bytes", h.flags, length)
	}
	h.length = int(length)
	return h, nil
}
