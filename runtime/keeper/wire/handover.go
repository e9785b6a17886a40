package wire

import (
	"maps"

	"github.com/berth-runtime/berth/internal/sys"
)

// Number returns the socket's descriptor, which is good until Close.
func (c *Conn) Number() (sys.Raw, error) { return c.socket.Number() }

// InterruptReceive ends a Receive that waits, and later ones, with os.ErrDeadlineExceeded, between two packets; false lets them wait
// again.
func (c *Conn) InterruptReceive(on bool) error { return c.socket.InterruptReceive(on) }

// InterruptSend does that to Send. A message without files that is refused so has not been sent.
func (c *Conn) InterruptSend(on bool) error { return c.socket.InterruptSend(on) }

// PeerPID returns the process at the other end.
func (c *Conn) PeerPID() (int, error) { return c.socket.PeerPID() }

// Partial returns the files that came ahead of their messages, by these messages' numbers, while nobody receives. They stay the
// Conn's.
func (c *Conn) Partial() map[uint32][]sys.Raw { return maps.Clone(c.partial) }

// Lost reports whether some of the files of a message that is not whole got lost.
func (c *Conn) Lost(number uint32) bool { return c.lost[number] }

// SetPartial makes a new Conn begin where another one on the same socket stopped. It owns the files.
func (c *Conn) SetPartial(number uint32, files []sys.Raw, lost bool) {
	c.partial[number] = files
	if lost {
		c.lost[number] = true
	}
}
