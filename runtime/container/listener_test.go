package container_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/testutil"
)

// Of linux/seccomp.h, Linux 5.5.
const (
	notifRecv    = 0xc0502100
	notifSend    = 0xc0182101
	notifGoOn    = 1
	notifBytes   = 80
	errnoOfAgent = 54
)

// handed is what an agent got.
type handed struct {
	state specs.ContainerProcessState
	calls int
}

// serveAgent listens as an agent does, and answers for calls: getcwd fails, all others go on. The channel has what came with
// each listener, when all processes under its filter have ended.
func serveAgent(t *testing.T) (path string, got <-chan handed) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "agent")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	testutil.Must(t, err)
	all := make(chan handed, 8)
	var agents sync.WaitGroup
	agents.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			state, fd, err := receive(conn)
			if err != nil {
				t.Error(err)
				return
			}
			agents.Go(func() { all <- handed{state, answer(fd)} })
		}
	})
	t.Cleanup(func() { l.Close(); agents.Wait() })
	return path, all
}

func receive(conn *net.UnixConn) (state specs.ContainerProcessState, fd int, err error) {
	defer conn.Close()
	data, oob := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	if err != nil {
		return state, -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return state, -1, errors.Join(errors.New("no descriptor came"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return state, -1, err
	}
	return state, fds[0], json.Unmarshal(data[:n], &state)
}

// answer answers for calls until there is nobody left to make one.
func answer(fd int) (calls int) {
	defer unix.Close(fd)
	getcwd := uint32(unix.SYS_GETCWD)
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err == unix.EINTR {
			continue // before Linux 6.11 a call that waits for a notification does not end with the last process
		} else if err != nil {
			return calls
		}
		if poll[0].Revents&unix.POLLHUP != 0 {
			return calls
		}
		var in [notifBytes]byte
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifRecv, uintptr(unsafe.Pointer(&in))); errno != 0 {
			continue // the caller was killed meanwhile
		}
		calls++
		var out [24]byte
		copy(out[:8], in[:8])
		if binary.NativeEndian.Uint32(in[16:]) == getcwd {
			negative := int32(-errnoOfAgent)
			binary.NativeEndian.PutUint32(out[16:], uint32(negative))
		} else {
			binary.NativeEndian.PutUint32(out[20:], notifGoOn)
		}
		unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifSend, uintptr(unsafe.Pointer(&out)))
	}
}

// notify returns a profile that asks an agent about calls.
func notify(path string, names ...string) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: path, ListenerMetadata: "who it is for",
		Flags:    []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC"},
		Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActNotify}},
	}
}

func TestSeccompAgent(t *testing.T) {
	n := newNode(t, build(t))
	for name, change := range map[string]func(*trial){
		"root":              func(*trial) {},
		"no new privileges": func(tr *trial) { tr.spec.Process.NoNewPrivileges = true },
		"user namespace":    (*trial).mapUsers,
		"user namespace, no new privileges": func(tr *trial) {
			tr.mapUsers()
			tr.spec.Process.NoNewPrivileges = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, got := serveAgent(t)
			tr := n.newTrial(t, "cwd", "loop")
			change(tr)
			tr.spec.Annotations = map[string]string{"a": "b"}
			// read, execve and capset are made behind the filter by the child itself.
			tr.spec.Linux.Seccomp = notify(path, "getcwd", "execve", "read", "capset")
			testutil.Must(t, tr.start())
			pid, err := n.PID(tr.id)
			testutil.Must(t, err)
			if out := tr.awaitOutput("loop"); !strings.Contains(out, "cwd error 54 ") {
				t.Errorf("the agent's answer did not come: %s", out)
			}
			out, _, err := tr.exec(nil, "cwd")
			testutil.Must(t, err)
			if !strings.Contains(out, "cwd error 54 ") {
				t.Errorf("exec: the agent's answer did not come: %s", out)
			}
			testutil.Must(t, n.Kill(bg(), tr.id))
			tr.wait()
			for range 2 {
				h := <-got
				s := h.state
				if h.calls < 2 || s.Metadata != "who it is for" || len(s.Fds) != 1 || s.Fds[0] != specs.SeccompFdName || s.Version != specs.Version ||
					s.State.ID != tr.id || s.State.Pid != pid || s.State.Annotations["a"] != "b" {
					t.Errorf("the agent got %+v", h)
				}
				if exec := s.Pid != pid; exec != (s.State.Status == specs.StateRunning) {
					t.Errorf("status %s of process %d, the first is %d", s.State.Status, s.Pid, pid)
				}
			}
		})
	}
}

func TestSeccompAgentThatIsNotThere(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "loop")
	tr.spec.Linux.Seccomp = notify(filepath.Join(t.TempDir(), "none"), "getcwd")
	if err := tr.start(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "seccomp agent") {
		t.Errorf("start without an agent: %v", err)
	}
	g, err := n.host.Open(tr.spec.Linux.CgroupsPath)
	testutil.Must(t, err)
	if pids, err := g.PIDs(); err != nil || len(pids) > 0 {
		t.Errorf("left: %v, %v", pids, err)
	}
}

// TestSeccompListenerThatCantBeReported has a filter under which the child can't say that it has a listener.
func TestSeccompListenerThatCantBeReported(t *testing.T) {
	n := newNode(t, build(t))
	path, _ := serveAgent(t)
	tr := n.newTrial(t, "loop")
	tr.spec.Linux.Seccomp = notify(path, "getcwd")
	tr.spec.Linux.Seccomp.Syscalls = append(tr.spec.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActErrno, ErrnoRet: new(uint(syscall.EPERM))})
	if err := tr.start(); err == nil || !strings.Contains(err.Error(), "may not report it") {
		t.Errorf("start: %v", err)
	}
}
