package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/berth-runtime/berth/internal/cniwire"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

const (
	stdoutMax = 4 << 20  // bytes of a plugin's result
	stderrMax = 16 << 10 // bytes of a plugin's last words
	pipeGrace = 2 * time.Second
)

// runner starts plugins for libcni. Each is the leader of a process group of its own, which is killed as a whole when the
// time is over; its children can't hold the daemon up by keeping a pipe open.
type runner struct {
	version.PluginDecoder
	timeout time.Duration
	log     *slog.Logger
	servers *servers
}

// PluginError is the failure of one plugin. Cause is a *types.Error when the plugin said what is wrong.
type PluginError struct {
	Plugin, Stage string // "bridge", "ADD"
	Stderr        string // the end of what it wrote, "" if nothing
	Cause         error
}

func (e *PluginError) Error() string {
	msg := fmt.Sprintf("CNI plugin %s, %s: %v", e.Plugin, e.Stage, e.Cause)
	if e.Stderr != "" {
		msg += fmt.Sprintf(" (its stderr: %q)", e.Stderr)
	}
	return msg
}

func (e *PluginError) Unwrap() error { return e.Cause }

// ExecPlugin implements invoke.Exec.
func (r *runner) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	plugin, stage := filepath.Base(path), variable(environ, "CNI_COMMAND")
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	stdout, stderr := &head{max: stdoutMax}, &tail{max: stderrMax}
	began := time.Now()
	err := r.run(ctx, path, stdin, shortLived(environ), stdout, stderr)
	r.log.DebugContext(ctx, "ran CNI plugin", "plugin", plugin, "stage", stage, "dur", time.Since(began))
	if err == nil && stdout.over {
		err = errdefs.Invalid("its result is larger than %d bytes", stdoutMax)
	}
	if err == nil {
		if text := stderr.String(); text != "" {
			r.log.InfoContext(ctx, "CNI plugin wrote to stderr", "plugin", plugin, "stage", stage, "stderr", text)
		}
		return stdout.buf.Bytes(), nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		err = errdefs.New(errdefs.ErrUnavailable, "it did not end after %s and was killed: %w", time.Since(began).Round(time.Millisecond), ctxErr)
	} else {
		err = pluginCause(err, stdout.buf.Bytes())
	}
	return nil, &PluginError{Plugin: plugin, Stage: stage, Stderr: strings.TrimSpace(stderr.String()), Cause: err}
}

// repairer is a runner whose plugins repair when they check.
type repairer struct{ *runner }

// ExecPlugin implements invoke.Exec.
func (r *repairer) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	return r.runner.ExecPlugin(ctx, path, stdin, append(environ, repairVariable))
}

// FindInPath implements invoke.Exec.
func (r *runner) FindInPath(plugin string, dirs []string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, plugin)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", errdefs.Unavailable("CNI plugin %s is in none of the folders %s: install it there", plugin, strings.Join(dirs, ", "))
}

// run runs a plugin, by a process that serves calls where it is one of berth's.
func (r *runner) run(ctx context.Context, path string, stdin []byte, environ []string, stdout *head, stderr *tail) error {
	reply, done, err := r.servers.call(ctx, path, cniwire.Call{Environ: environ, Stdin: stdin})
	if !done {
		return execute(ctx, path, stdin, environ, stdout, stderr)
	}
	_, outErr := stdout.Write(reply.Stdout)
	_, errErr := stderr.Write(reply.Stderr)
	if err == nil && reply.Status != 0 {
		err = fmt.Errorf("exit status %d", reply.Status)
	}
	return errors.Join(err, outErr, errErr)
}

func execute(ctx context.Context, path string, stdin []byte, environ []string, stdout *head, stderr *tail) error {
	cmd := command(ctx, path, environ)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), stdout, stderr
	if err := start(cmd); err != nil {
		return err
	}
	return wait(cmd)
}

func start(cmd *exec.Cmd) error {
	// Go opens everything close-on-exec; what the daemon itself inherited may not be.
	if err := sys.CloseOnExecFrom(3); err != nil {
		return fmt.Errorf("mark descriptors close-on-exec: %w", err)
	}
	return sys.WithTimerSlack(pluginSlack, cmd.Start)
}

// command is a plugin that leads a process group, all of which is killed when the context ends.
func command(ctx context.Context, path string, environ []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Dir = environ, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = pipeGrace
	return cmd
}

// wait reaps a plugin.
func wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		// The plugin ended well but left children behind that hold its pipes.
		return errors.Join(fmt.Errorf("it left processes behind that hold its output open: %w", err), killGroup(cmd.Process.Pid))
	}
	return err
}

// pluginSlack is how late a plugin's timers may come. The Go runtime's monitor wakes up every 0.1 ms while a program works, and each
// time costs more than it does.
const pluginSlack = 500 * time.Microsecond

// shortLived adds what the Go runtime of a plugin reads at its start, unless the daemon's own environment has it: threads that
// hand each other the work of 5 ms are no gain.
func shortLived(environ []string) []string {
	if variable(environ, "GOMAXPROCS") != "" {
		return environ
	}
	return append(environ, "GOMAXPROCS=1")
}

func killGroup(leader int) error {
	if err := syscall.Kill(-leader, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", leader, err)
	}
	return nil
}

// pluginCause returns the error that a plugin printed, else how it ended.
func pluginCause(err error, stdout []byte) error {
	var said types.Error
	if len(bytes.TrimSpace(stdout)) == 0 {
		return err
	}
	if json.Unmarshal(stdout, &said) != nil || said.Msg == "" && said.Code == 0 {
		return fmt.Errorf("%w; it printed no CNI error but %.200q", err, stdout)
	}
	return &said
}

func variable(environ []string, name string) string {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// head keeps the first max bytes and remembers that there were more.
type head struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (h *head) Write(p []byte) (int, error) {
	room := h.max - h.buf.Len()
	if len(p) > room {
		h.over = true
		h.buf.Write(p[:room])
	} else {
		h.buf.Write(p)
	}
	return len(p), nil
}

// tail keeps the last max bytes.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - t.max; extra > 0 {
		t.buf = t.buf[extra:]
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.buf) }
