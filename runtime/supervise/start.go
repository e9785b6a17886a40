package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

const (
	maxLog   = 1 << 20 // a longer log is begun anew with the next keeper
	oomScore = -999
	maxEnd   = 10 * time.Second // a killed keeper is gone at once, unless the kernel holds it in a disk's read or write
)

// start starts a keeper and returns when it accepts connections.
func (s *Supervisor) start(ctx context.Context) (pid int, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean() // all that is opened here is for the start alone
	ready, said, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	cu.Add(ready.Close)
	child, err := s.fork(said)
	if err != nil {
		return 0, err
	}
	s.protect(ctx, child.PID)
	pidfd, err := sys.Dup(child.Pidfd) // the other one is the reaper's
	reaped := s.reap(child)
	if err != nil {
		return 0, err
	}
	cu.Add(pidfd.Close)
	stop := context.AfterFunc(ctx, func() {
		// Ends the read below. It fails only when there is nothing left to end.
		_ = ready.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	var buf [1]byte
	_, err = io.ReadFull(ready, buf[:])
	if err == nil {
		return child.PID, nil
	}
	// One that is not ready must not be there when the next is started.
	if err := sys.PidfdSignal(pidfd, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return 0, fmt.Errorf("end a keeper that is not ready: %w", err)
	}
	select {
	case <-reaped:
	case <-time.After(maxEnd):
		return 0, errdefs.Unavailable("it was not ready, and does not end: process %d", child.PID)
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("wait until it is ready: %w", ctx.Err())
	}
	return 0, errdefs.Unavailable("it ended before it was ready, see %s", s.logPath())
}

func (s *Supervisor) logPath() string { return filepath.Join(s.cfg.StateDir, "keeper.log") }

// fork makes the process. It takes over the file.
func (s *Supervisor) fork(said *os.File) (_ fork.Child, err error) {
	b := fork.NewBuilder()
	cu := cleanup.Make(&err)
	defer cu.Clean() // all that is opened here is for the start alone
	cu.Add(said.Close)
	cu.Add(b.Close)
	binary, err := client.OpenProgram(s.cfg.Binary)
	if err != nil {
		return fork.Child{}, err
	}
	b.File(binary) // the builder's from here on
	log, err := s.openLog()
	if err != nil {
		return fork.Child{}, err
	}
	cu.Add(log.Close)
	dir, err := s.join(b)
	if err != nil {
		return fork.Child{}, err
	}
	if dir != nil {
		cu.Add(dir.Close)
	}
	s.write(b, binary)
	p, err := b.Program()
	if err != nil {
		return fork.Child{}, err
	}
	cu.Add(p.Close)
	return fork.Start(p, fork.Options{Cgroup: dir, Stdio: [3]*os.File{said, log, log}})
}

// openLog opens the keeper's log. It can't share berthd's: a keeper that outlives it would die of writing to a pipe
// without a reader.
func (s *Supervisor) openLog() (*os.File, error) {
	if err := os.MkdirAll(s.cfg.StateDir, 0o700); err != nil {
		return nil, err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Stat(s.logPath()); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(s.logPath(), flags, 0o600)
}

// join makes the child join the keeper's control group, and returns the folder that it is born in, if there is one.
func (s *Supervisor) join(b *fork.Builder) (dir *os.File, err error) {
	if s.cfg.Cgroup == nil {
		return nil, nil
	}
	tasks, err := s.cfg.Cgroup.JoinFiles()
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		b.Call("join control group "+t.Name(), sys.NrWrite, b.File(t), b.Str("0"), fork.Imm(1))
	}
	return s.cfg.Cgroup.Dir()
}

// write writes the program. The keeper's standard input is the pipe on which it says that it is ready.
func (s *Supervisor) write(b *fork.Builder, binary *os.File) {
	b.Call("make a session", sys.NrSetsid)
	b.Call("change to the root", sys.NrChdir, b.Str("/"))
	b.Call("set umask", sys.NrUmask, fork.Imm(0o022))
	for i := range 3 {
		b.Call("set up stdio", sys.NrDup3, b.Stdio(i), fork.Int(i), fork.Imm(0))
	}
	argv := b.Argv([]string{s.cfg.Binary, "--socket", s.cfg.Socket, "--state", s.cfg.StateDir, "--ready"})
	b.Call("execute "+s.cfg.Binary, sys.NrExecveat, b.File(binary), b.Str(""), argv, b.Argv(nil), fork.Imm(sys.AtEmptyPath))
}

// protect keeps the OOM killer away from the keeper, where that is permitted.
func (s *Supervisor) protect(ctx context.Context, pid int) {
	path := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	if err := os.WriteFile(path, []byte(strconv.Itoa(oomScore)), 0); err != nil {
		s.cfg.Logger.DebugContext(ctx, "the keeper is not protected from the OOM killer", "error", err)
	}
}
