package wire

import (
	"bytes"
	"strings"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Type tells messages apart.
type Type uint8

// The requests, each answered by one TypeReply with the same number.
const (
	TypeStart      Type = 1  // Start; files: see there
	TypeAttach     Type = 2  // Attach
	TypeResize     Type = 3  // Resize
	TypeCloseStdin Type = 4  // Name
	TypeReopenLog  Type = 5  // Name
	TypeForget     Type = 6  // Name
	TypeList       Type = 7  // empty
	TypeAdopt      Type = 8  // Adopt
	TypeHello      Type = 9  // Hello; the first request on a connection
	TypeMaster     Type = 10 // Name; the reply has a duplicate of the terminal's master, or no file
	TypeUpgrade    Type = 11 // empty, with one file: the program to become; its form is the same in all versions of the protocol
	TypeReply      Type = 64 // Reply
	TypeEvent      Type = 65 // Event, from the keeper only, number 0
	TypeInputEnd   Type = 67 // Name, from the keeper only, number 0: whoever holds that input open closes it now
	typeFiles      Type = 66 // more files for the message with the same number
)

// Stdin, stdout and stderr (or the pty's master and slave) are told by bits; the files follow in that order.
const (
	HasStdin  = 1 << 0
	HasStdout = 1 << 1
	HasStderr = 1 << 2
	HasMaster = 1 << 3
	HasSlave  = 1 << 4
	HasPIDNS  = 1 << 5
	HasCgroup = 1 << 6

	// HasListener is a socket pair's end on which the keeper sends the PID, in 4 bytes, and the seccomp listener of a process
	// before its execve.
	HasListener = 1 << 7

	allHas = 1<<8 - 1
)

// Version is the version of this protocol. A keeper serves berthds of its own version only; a change that old ones need not
// know of keeps it.
const Version = 1

// EncodeHello is what both ends say first: the version that they speak.
func EncodeHello(version uint32) []byte {
	var e encoder
	e.U32(version)
	return e.Data
}

// DecodeHello is the opposite of [EncodeHello].
func DecodeHello(data []byte) (uint32, error) {
	d := newDecoder(data)
	v := d.U32()
	return v, d.End()
}

// Start asks for a process. Its files are, as Has says: PIDNS, cgroup, stdin, stdout, stderr, master, slave, listener;
// then the program's. With Managed, stdin, stdout and stderr are those of a client that is attached before the process is there.
type Start struct {
	ID      string
	Flags   uint64
	Has     uint8
	Managed bool
	Dir     string
	LogPath string
	Stdin   bool
	Once    bool
	UID     uint32
	GID     uint32
	Program []byte // wire form of a fork.Program
}

// Encode returns the binary form.
func (m *Start) Encode() []byte {
	e := newEncoder(make([]byte, 0, len(m.ID)+len(m.Dir)+len(m.LogPath)+len(m.Program)+64))
	e.Str(m.ID)
	e.U64(m.Flags)
	e.U8(m.Has)
	e.Bool(m.Managed)
	e.Str(m.Dir)
	e.Str(m.LogPath)
	e.Bool(m.Stdin)
	e.Bool(m.Once)
	e.U32(m.UID)
	e.U32(m.GID)
	e.Data = append(e.Data, m.Program...)
	return e.Data
}

// DecodeStart verifies everything but the program, which fork.Unmarshal does.
func DecodeStart(data []byte) (Start, error) {
	d := newDecoder(data)
	m := Start{
		ID:      d.id(),
		Flags:   d.U64(),
		Has:     d.has(allHas),
		Managed: d.Bool(),
		Dir:     d.path("stdio folder"),
		LogPath: d.path("log path"),
		Stdin:   d.Bool(),
		Once:    d.Bool(),
		UID:     d.U32(),
		GID:     d.U32(),
	}
	if d.Err != nil {
		return Start{}, d.Err
	}
	m.Program = bytes.Clone(d.Data)
	return m, m.verify()
}

func (m *Start) verify() error {
	tty := m.Has & (HasMaster | HasSlave)
	switch {
	case m.Managed && tty != 0 && m.Has&HasStderr != 0:
		return errdefs.Invalid("start %s: a client's stderr, which a terminal has not", m.ID)
	case m.Managed && m.Dir == "":
		return errdefs.Invalid("start %s: managed stdio without a folder", m.ID)
	case tty != 0 && tty != HasMaster|HasSlave:
		return errdefs.Invalid("start %s: half a terminal", m.ID)
	case !m.Managed && (tty != 0 || m.Dir != "" || m.LogPath != "" || m.Stdin || m.Once):
		return errdefs.Invalid("start %s: options of managed stdio without it", m.ID)
	}
	return nil
}

// Attach connects files to a process's stdio, as Has says: stdin, stdout, stderr.
type Attach struct {
	ID  string
	Has uint8
}

// Encode returns the binary form.
func (m *Attach) Encode() []byte {
	var e encoder
	e.Str(m.ID)
	e.U8(m.Has)
	return e.Data
}

// DecodeAttach is the opposite of Encode.
func DecodeAttach(data []byte) (Attach, error) {
	d := newDecoder(data)
	m := Attach{ID: d.id(), Has: d.has(HasStdin | HasStdout | HasStderr)}
	return m, d.End()
}

// Resize sets the size of a terminal, in characters.
type Resize struct {
	ID            string
	Width, Height uint16
}

// Encode returns the binary form.
func (m *Resize) Encode() []byte {
	var e encoder
	e.Str(m.ID)
	e.U16(m.Width)
	e.U16(m.Height)
	return e.Data
}

// DecodeResize is the opposite of Encode.
func DecodeResize(data []byte) (Resize, error) {
	d := newDecoder(data)
	m := Resize{ID: d.id(), Width: d.U16(), Height: d.U16()}
	return m, d.End()
}

// Adopt hands files over, as Has says: HasStdin stands for the pidfd, HasMaster for the pty master.
type Adopt struct {
	ID  string
	Has uint8
}

// Encode returns the binary form.
func (m *Adopt) Encode() []byte { return (&Attach{m.ID, m.Has}).Encode() }

// DecodeAdopt is the opposite of Encode.
func DecodeAdopt(data []byte) (Adopt, error) {
	d := newDecoder(data)
	m := Adopt{ID: d.id(), Has: d.has(HasStdin | HasMaster)}
	return m, d.End()
}

// EncodeName is the form of requests that only name a process.
func EncodeName(id string) []byte {
	var e encoder
	e.Str(id)
	return e.Data
}

// DecodeName is the opposite of [EncodeName].
func DecodeName(data []byte) (string, error) {
	d := newDecoder(data)
	id := d.id()
	return id, d.End()
}

// Encode returns the binary form.
func (m *Event) Encode() []byte {
	var e encoder
	e.Str(m.ID)
	e.exit(m.Exit)
	return e.Data
}

// DecodeEvent is the opposite of Encode.
func DecodeEvent(data []byte) (Event, error) {
	d := newDecoder(data)
	m := Event{ID: d.id(), Exit: d.exit()}
	return m, d.End()
}

// Started is the reply to a Start; the pidfd comes with it.
type Started struct {
	PID       int
	StartTime uint64
	At        time.Time
}

// Encode returns the binary form.
func (m *Started) Encode() []byte {
	var e encoder
	e.U32(uint32(m.PID))
	e.U64(m.StartTime)
	e.Time(m.At)
	return e.Data
}

// DecodeStarted is the opposite of Encode.
func DecodeStarted(data []byte) (Started, error) {
	d := newDecoder(data)
	m := Started{PID: int(d.U32()), StartTime: d.U64(), At: d.Time()}
	return m, d.End()
}

// EncodeProcesses is the reply to a list request.
func EncodeProcesses(list []Process) []byte {
	e := newEncoder(make([]byte, 0, 4+len(list)*128))
	e.U32(uint32(len(list)))
	for i := range list {
		p := &list[i]
		e.Str(p.ID)
		e.U32(uint32(p.PID))
		e.U64(p.StartTime)
		e.Time(p.At)
		e.Bool(p.Exited)
		e.exit(p.Exit)
	}
	return e.Data
}

// DecodeProcesses is the opposite of [EncodeProcesses].
func DecodeProcesses(data []byte) ([]Process, error) {
	d := newDecoder(data)
	const smallest = 4 + 1 + 4 + 8 + 8 + 1 + 15
	n := d.Count("processes", smallest)
	list := make([]Process, 0, n)
	for range n {
		list = append(list, Process{
			ID: d.id(), PID: int(d.U32()), StartTime: d.U64(), At: d.Time(), Exited: d.Bool(), Exit: d.exit(),
		})
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	return list, nil
}

func (d *decoder) id() string {
	id := d.Str("process ID", MaxID)
	if d.Err == nil && (id == "" || strings.ContainsAny(id, "\x00\n")) {
		d.Fail("%q is not a process ID", id)
	}
	return id
}

func (d *decoder) path(what string) string {
	p := d.Str(what, MaxPath)
	if d.Err == nil && p != "" && (p[0] != '/' || strings.IndexByte(p, 0) >= 0) {
		d.Fail("%s %q is not an absolute path", what, p)
	}
	return p
}

func (d *decoder) has(allowed uint8) uint8 {
	v := d.U8()
	if v&^allowed != 0 {
		d.Fail("files %#x, of which only %#x are allowed", v, allowed)
	}
	return v
}
