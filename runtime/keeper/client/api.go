package client

import (
	"os"
	"time"

	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// The values that the keeper reports.
type (
	Exit    = wire.Exit
	Event   = wire.Event
	Process = wire.Process
)

// StartRequest describes a process to start. All files, the program's too, stay the caller's.
type StartRequest struct {
	ID      string // unique among the processes that are not forgotten, at most 256 bytes
	Program *fork.Program
	Flags   uint64   // namespaces to make, CLONE_NEW*
	PIDNS   *os.File // PID namespace to join, or nil
	Cgroup  *os.File // cgroup v2 folder to be born in, or nil
	Stdio   Stdio

	// Listener is the end of a socket pair (sys.SeqpacketPair) for a program that loads a seccomp filter with a listener: the
	// keeper sends it there, with the process's PID in 4 bytes, little-endian, before the program goes on.
	Listener *os.File
}

// Stdio says where a process's stdio goes: exactly one form.
type Stdio struct {
	Files   [3]*os.File // given to the process as they are (made blocking); nil is /dev/null
	Managed *Managed    // if set, the keeper makes and serves the stdio, and Files must be nil
}

// Managed is stdio that outlives berthd and the keeper: FIFOs, or a terminal, with a CRI log.
type Managed struct {
	Dir       string // folder of the FIFOs, on a tmpfs; made (0700) if it is not there, removed by Forget if it is empty
	LogPath   string // "" discards the output; the folder must exist
	Stdin     bool   // false: standard input is /dev/null (FIFOs only)
	StdinOnce bool   // standard input ends when the first attached client's does
	UID, GID  uint32 // owner of the FIFOs, so that the process may open /dev/stdout anew
	Master    *os.File
	Slave     *os.File // with Master: a terminal instead of FIFOs

	// Client are files of a client, as for [Client.Attach], which is there from the first byte on. Unlike those that come
	// later it is waited for: while it does not read, the process's output stands still, as in a pipeline.
	Client [3]*os.File
}

// Started is a process that runs.
type Started struct {
	PID       int      // in the keeper's PID namespace
	Pidfd     *os.File // the caller's
	StartTime uint64   // field 22 of /proc/PID/stat
	At        time.Time
}
