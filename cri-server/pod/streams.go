package pod

import "io"

// Size is a terminal's, in characters.
type Size struct{ Width, Height uint16 }

// ExecResult is what a command run by ExecSync said. Each stream is cut at [MaxExecOutput].
type ExecResult struct {
	Stdout, Stderr []byte
	ExitCode       int32
}

// MaxExecOutput is how much of each stream ExecSync keeps, in bytes; the rest is read and thrown away.
const MaxExecOutput = 16 << 20

// ExecStream is a command to run with streams. A nil stream is not connected. With TTY, Stderr must be nil.
type ExecStream struct {
	Cmd    []string
	TTY    bool
	Stdin  io.Reader
	Stdout io.WriteCloser
	Stderr io.WriteCloser
	Resize <-chan Size // may be nil
}

// AttachStream connects to a running container. A nil stream is not connected.
type AttachStream struct {
	Stdin  io.Reader
	Stdout io.WriteCloser
	Stderr io.WriteCloser
	Resize <-chan Size // may be nil
}
