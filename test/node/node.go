package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Node is one runtime: its command, where it listens, and the process while it runs.
type Node struct {
	Name    string   // "berth" or "containerd"
	Dir     string   // everything of this node lies below
	Socket  string   // CRI socket, a path
	LogPath string   // stderr of all starts, appended
	Command []string // program and arguments
	Certs   string   // folder of hosts.toml files

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has been reaped
	undo []func() error
}

// startTime bounds how long a runtime may take to answer for the first time.
const startTime = 30 * time.Second

// Start starts the runtime and returns when it answers on its socket.
func (n *Node) Start(ctx context.Context) error {
	if n.cmd != nil {
		return fmt.Errorf("start %s: it runs", n.Name)
	}
	log, err := os.OpenFile(n.LogPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(n.Command[0], n.Command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own: a Ctrl-C in the terminal reaches the test, which ends its node in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.cmd, n.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		_ = cmd.Wait() // how it ended is read from ProcessState by those who care
	}(n.done)
	if err := n.ready(ctx); err != nil {
		return fmt.Errorf("%w\n%s", errors.Join(err, n.Kill()), n.LogTail(4000))
	}
	return nil
}

// ready waits until the runtime answers a Version call, or has ended.
func (n *Node) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	c, err := n.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-n.done:
			return fmt.Errorf("%s ended at its start: %s", n.Name, n.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer after %v: %w", n.Name, startTime, err)
		case <-tick.C:
		}
	}
}

// PID returns the process id, 0 when the runtime does not run.
func (n *Node) PID() int {
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Kill ends the runtime with SIGKILL, as a crash does, and waits for its end.
func (n *Node) Kill() error { return n.end(syscall.SIGKILL, time.Minute) }

// Stop asks the runtime to end and waits. One that takes longer than 20 s is killed, which is an error.
func (n *Node) Stop() error { return n.end(syscall.SIGTERM, 20*time.Second) }

func (n *Node) end(sig syscall.Signal, patience time.Duration) error {
	if n.cmd == nil {
		return nil
	}
	cmd := n.cmd
	n.cmd = nil
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", n.Name, err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-n.done:
		return nil
	case <-timer.C:
		err := cmd.Process.Kill()
		<-n.done
		return errors.Join(fmt.Errorf("%s did not end within %v of %v", n.Name, patience, sig), err)
	}
}

// Close stops the runtime and removes everything of the node, newest first.
func (n *Node) Close() error {
	err := n.Stop()
	if n.Name == "berth" {
		err = errors.Join(err, n.removeInfrastructure())
	}
	for _, undo := range slices.Backward(n.undo) {
		err = errors.Join(err, undo())
	}
	n.undo = nil
	return err
}

// LogTail returns the end of the runtime's log.
func (n *Node) LogTail(limit int64) string {
	f, err := os.Open(n.LogPath)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > limit {
		_, _ = f.Seek(-limit, io.SeekEnd) // on an error the whole log is shown
	} else {
		_, _ = f.Seek(0, io.SeekStart)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("--- log of %s ---\n%s", n.Name, bytes.TrimSpace(data))
}

// prepare makes the node's folders and its state's tmpfs.
func (n *Node) prepare(dirs ...string) error {
	for _, d := range append(dirs, "state", "etc", "certs.d", "net.d", "pod-logs") {
		if err := os.MkdirAll(filepath.Join(n.Dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := n.mountTmpfs("state", "mode=0755"); err != nil {
		return err
	}
	n.Certs = filepath.Join(n.Dir, "certs.d")
	n.LogPath = filepath.Join(n.Dir, n.Name+".log")
	return nil
}

// mountTmpfs mounts a tmpfs on a folder of the node until Close.
func (n *Node) mountTmpfs(folder, options string) error {
	path := filepath.Join(n.Dir, folder)
	if err := syscall.Mount("berth-test", path, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", path, err)
	}
	n.undo = append(n.undo, func() error {
		if err := syscall.Unmount(path, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		return nil
	})
	return nil
}
