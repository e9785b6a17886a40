package handover

import (
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// Version is the version of the form. A keeper takes over from one that writes the same.
const Version = 1

// Answer is what a program prints that can take over from a keeper with this version of the form.
const Answer = "berth-keeper takes over form 1\n"

// State is a keeper that stands still. Files that are not there are sys.NoFile.
type State struct {
	Protocol  uint32 // wire.Version of the connections
	Lock      sys.Raw
	Listener  sys.Raw
	Conns     []Conn
	Processes []Process
}

// Conn is a connection.
type Conn struct {
	Socket  sys.Raw
	Owed    uint32 // number of the request that asked for all this, 0: another connection's
	Events  []Event
	Partial []Partial
}

// Event is a message that was not sent yet.
type Event struct {
	Type    wire.Type
	Payload []byte
}

// Partial are files that came ahead of their message.
type Partial struct {
	Number uint32
	Files  []sys.Raw
	Lost   bool // some more could not be received
}

// Process is what the journal does not know of a process.
type Process struct {
	Seq    uint64 // in the journal
	Pidfd  sys.Raw
	Exited bool
	Told   bool      // the end has been announced
	Exit   wire.Exit // if Exited
	Stdio  *Stdio    // nil: it has none here
}

// Stdio is what is open for the stdio of one process.
type Stdio struct {
	Log      sys.Raw
	In       sys.Raw    // not a terminal's
	Out      [2]sys.Raw // a terminal's master is the first
	Closing  bool       // input ends with what clients have sent
	Finished bool
	Partial  []byte // a terminal's unfinished line
	Lost     uint64 // bytes that could not be logged and are not reported
	Clients  []Client
}

// Client is an attached client.
type Client struct {
	In      sys.Raw
	Pending []byte // read from In, not taken by the process
	Out     [2]sys.Raw
	Queue   [2][]byte // not taken by the client
	First   bool      // it was there before the process, which waits for it
}

// Files returns all open files of the state.
func (s *State) Files() []sys.Raw {
	list := []sys.Raw{s.Lock, s.Listener}
	for i := range s.Conns {
		list = append(list, s.Conns[i].Socket)
		for _, p := range s.Conns[i].Partial {
			list = append(list, p.Files...)
		}
	}
	for i := range s.Processes {
		list = append(list, s.Processes[i].Files()...)
	}
	return open(list)
}

// Files returns the open files of the process.
func (p *Process) Files() []sys.Raw {
	list := []sys.Raw{p.Pidfd}
	if p.Stdio != nil {
		list = append(list, p.Stdio.Files()...)
	}
	return open(list)
}

// Files returns the open files of the stdio.
func (s *Stdio) Files() []sys.Raw {
	list := []sys.Raw{s.Log, s.In, s.Out[0], s.Out[1]}
	for _, c := range s.Clients {
		list = append(list, c.In, c.Out[0], c.Out[1])
	}
	return open(list)
}

func open(list []sys.Raw) []sys.Raw {
	kept := list[:0]
	for _, f := range list {
		if f != sys.NoFile {
			kept = append(kept, f)
		}
	}
	return kept
}
