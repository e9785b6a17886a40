package container

import (
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// CreateOptions describes a container to make.
type CreateOptions struct {
	ID     string
	Spec   *specs.Spec         // not changed, and not kept, but for its seccomp profile and annotations, which are for execs too
	Root   *os.File            // detached root mount; Create owns it, also when it fails. nil: Spec.Root.Path is used
	Mounts map[string]*os.File // prepared detached mounts by Destination of Spec.Mounts (their Source is not looked at); owned as Root is

	LogPath                    string // CRI log file; "" discards the output
	Terminal, Stdin, StdinOnce bool   // Terminal must be as Spec.Process.Terminal
}

// DeleteOptions tells Delete about a container that the Runtime may not know.
type DeleteOptions struct {
	CgroupPath string // Spec.Linux.CgroupsPath; "" = not known
}

// Restored describes a container that a former Runtime made, for Restore.
type Restored struct {
	ID         string
	Spec       *specs.Spec // as given to Create
	CgroupPath string
	LogPath    string
	Terminal   bool
}

// Status is the state of a container.
type Status string

// The statuses.
const (
	StatusUnknown Status = "unknown" // neither this Runtime nor the keeper knows the ID: never started, or lost
	StatusCreated Status = "created"
	StatusRunning Status = "running"
	StatusStopped Status = "stopped"
)

// State is what is known of a container.
type State struct {
	Status    Status
	PID       int // 0 unless running
	StartedAt time.Time
	Exit      client.Exit // if stopped
}

// ExitEvent tells that a container's first process has ended. Execs are not reported here.
type ExitEvent struct {
	ID   string
	Exit client.Exit
}

// ExecOptions describes a process to start in a running container.
type ExecOptions struct {
	Process *specs.Process // as in a spec: Args, Env, Cwd, User, Capabilities, NoNewPrivileges, Rlimits, OOMScoreAdj (nil: the container's)

	// The process's stdio, given to it directly; nil is /dev/null. They stay the caller's, who should close them after
	// Exec has returned. None may be set with Terminal.
	Stdin, Stdout, Stderr *os.File
	Terminal              bool // makes a pty in the container's devpts; see Exec.Master
}
