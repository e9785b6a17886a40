package wire

// Bounds of messages.
const (
	MaxID      = 256      // bytes of a process's ID
	MaxPath    = 4096     // bytes of a path
	MaxText    = 8 << 10  // bytes of an error's or reason's text
	MaxPayload = 16 << 20 // bytes of one message
	MaxFiles   = 4096 + 8 // files with one message: a program's, and a few of the request

	maxInline = 16 << 10 // bytes of a payload that travels in the packet itself
	maxPacket = maxInline + packetHeader
)
