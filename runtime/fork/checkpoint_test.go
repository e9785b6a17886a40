package fork_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/fork"
)

func TestCheckpointsAreServedInOrder(t *testing.T) {
	b := fork.NewBuilder()
	fd := b.Call("open /dev/null", unix.SYS_OPENAT, fork.Int(unix.AT_FDCWD), b.Str("/dev/null"), fork.Imm(unix.O_RDONLY)).Result()
	b.Checkpoint("first", 1, fd)
	b.Checkpoint("second", 2, fork.Imm(42))
	shell(b, "exit 3")
	p := program(t, b)
	files, _ := stdio(t)
	var seen []string
	c, err := fork.Start(p, fork.Options{Stdio: files, Checkpoint: func(c fork.Checkpoint) error {
		if c.Tag == 1 {
			target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.Child.PID, c.Value))
			if err != nil || target != "/dev/null" {
				return fmt.Errorf("descriptor %d of the child: %s, %w", c.Value, target, err)
			}
			seen = append(seen, "1 null")
			return nil
		}
		seen = append(seen, fmt.Sprint(c.Tag, " ", c.Value))
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(seen, ", "); got != "1 null, 2 42" {
		t.Errorf("reached %q", got)
	}
	if status := end(t, c); status != 3 {
		t.Errorf("status %d", status)
	}
}

func TestCheckpointEndsTheChildOnAnError(t *testing.T) {
	b := fork.NewBuilder()
	b.Checkpoint("run hooks", 7, fork.Imm(0))
	shell(b, "exit 0")
	p := program(t, b)
	files, _ := stdio(t)
	if _, err := fork.Start(p, fork.Options{Stdio: files}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a launcher that serves no checkpoints: %v", err)
	}
	_, err := fork.Start(p, fork.Options{Stdio: files, Checkpoint: func(fork.Checkpoint) error { return os.ErrPermission }})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "run hooks") {
		t.Errorf("got %v", err)
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("a child is left: %v", err)
	}
}

func TestFailureAfterACheckpoint(t *testing.T) {
	b := fork.NewBuilder()
	b.Checkpoint("first", 1, fork.Imm(0))
	b.Call("change to /no/such", unix.SYS_CHDIR, b.Str("/no/such"))
	shell(b, "exit 0")
	files, _ := stdio(t)
	_, err := fork.Start(program(t, b), fork.Options{Stdio: files, Checkpoint: func(fork.Checkpoint) error { return nil }})
	var step *fork.StepError
	if !errors.As(err, &step) || *step != (fork.StepError{Step: "change to /no/such", Errno: unix.ENOENT}) {
		t.Errorf("got %v", err)
	}
}

// fifo makes a FIFO and opens it for both directions, so that opening waits for nobody and reading sees no end.
func fifo(t *testing.T) (path string, both *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return path, os.NewFile(uintptr(fd), path)
}

func TestReleasedChildGoesOnAlone(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       error
	}{{"execve succeeds", "/bin/true", nil}, {"execve fails", "/no/such", &fork.StepError{Step: "execute /no/such", Errno: unix.ENOENT}}} {
		t.Run(tt.name, func(t *testing.T) {
			goPath, goFile := fifo(t)
			tellPath, tell := fifo(t)
			b := fork.NewBuilder()
			b.Release("wait to be started", b.File(tell))
			b.Call("wait for the start", unix.SYS_READ, b.File(goFile), b.Bytes(make([]byte, 8)), fork.Imm(1))
			b.Call("execute "+tt.file, unix.SYS_EXECVE, b.Str(tt.file), b.Argv([]string{"x"}), b.Argv(nil))
			p, err := b.Program()
			if err != nil {
				t.Fatal(err)
			}
			files, _ := stdio(t)
			c, err := fork.Start(p, fork.Options{Stdio: files})
			if err := errors.Join(err, p.Close()); err != nil {
				t.Fatal(err)
			}
			r, err := os.OpenFile(tellPath, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := os.WriteFile(goPath, []byte{1}, 0); err != nil {
				t.Fatal(err)
			}
			got := fork.AwaitReleased(r)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("told %v, want %v", got, tt.want)
			}
			end(t, c)
		})
	}
}

func FuzzAwaitReleased(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00execute /x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := fork.AwaitReleased(bytes.NewReader(data))
		var step *fork.StepError
		if (err == nil) != (len(data) == 0) || err != nil && !errors.As(err, &step) && !errors.Is(err, errdefs.ErrBug) {
			t.Errorf("%q: %v", data, err)
		}
	})
}
