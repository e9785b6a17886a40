package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

const nobody = 65534

// dialAsOther is the main function of another user's process: it says how far it comes.
func dialAsOther(socket string) {
	s, err := sys.DialSeqpacket(socket)
	if err != nil {
		fmt.Println("not connected:", err)
		return
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
	}
	c, err := client.Dial(context.Background(), socket)
	if err != nil {
		fmt.Println("not greeted:", err)
		return
	}
	list, err := c.List(context.Background())
	fmt.Println("served:", list, err)
}

func runAs(t *testing.T, uid uint32, socket string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", socket)
	cmd.Env = append(os.Environ(), modeVar+"=dial")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Another user does not get to the socket, and who does get there by a mistake with modes is not served.
func TestOtherUsers(t *testing.T) {
	n := newNode(t)
	for path, mode := range map[string]os.FileMode{"/socket": 0o600, "/state": 0o700, "/state/journal": 0o600, "/state/cursors": 0o600, "/state/lock": 0o600} {
		info, err := os.Stat(n.dir + path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), mode)
		}
	}
	// The test program must be one that the other user can execute.
	if err := os.Chmod(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out := runAs(t, nobody, n.dir+"/socket"); !strings.Contains(out, "not connected: permission denied") {
		t.Errorf("with right modes: %s", out)
	}
	if err := os.Chmod(n.dir+"/socket", 0o666); err != nil {
		t.Fatal(err)
	}
	if out := runAs(t, nobody, n.dir+"/socket"); !strings.Contains(out, "not greeted: ") {
		t.Errorf("with wrong modes: %s", out)
	}
	if out := runAs(t, 0, n.dir+"/socket"); !strings.Contains(out, "served: [] <nil>") {
		t.Errorf("root: %s", out)
	}
}

// A folder in which others can write is no place for a keeper.
func TestFoldersOfOthers(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"writable": func(dir string) error { return os.Chmod(dir, 0o770) },
		"owned":    func(dir string) error { return os.Chown(dir, nobody, 0) },
	} {
		dir := t.TempDir()
		state := dir + "/state"
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := spoil(state); err != nil {
			t.Fatal(err)
		}
		if out, err := keeperCommand(dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "others must not be able to write there") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

// limitFiles sets how many files a process may have open.
func limitFiles(t *testing.T, pid int, soft uint64) {
	t.Helper()
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
		t.Fatal(err)
	}
	now.Cur = soft
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &now, nil); err != nil {
		t.Fatal(err)
	}
}

// highest is the largest descriptor in use plus one: with that limit there is no room at all.
func highest(t *testing.T, pid int) uint64 {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	top := 0
	for _, e := range list {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			t.Fatal(err)
		}
		top = max(top, fd)
	}
	return uint64(top + 1)
}

// Without room for another file the keeper refuses what needs one, says why, and goes on with everything else.
func TestNoRoomForFiles(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	ctx := context.Background()
	m := n.managed("cat")
	m.Stdin = true
	s.start("cat", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	in, out := attach(t, s, "cat")
	say(t, in, out, "before\n")
	pid := n.cmd.Process.Pid
	files := openFiles(t, pid)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	limitFiles(t, pid, 3) // not even the files of a request have room
	_, err = s.Start(ctx, client.StartRequest{ID: "more", Program: sh(t, "exec sleep 1000"), Stdio: client.Stdio{Files: [3]*os.File{null, null, null}}})
	if !errors.Is(err, syscall.EMFILE) || !errors.Is(err, errdefs.ErrExhausted) {
		t.Errorf("without room: %v", err)
	}
	for room := range uint64(12) { // the start fails at another file each time
		limitFiles(t, pid, highest(t, pid)+room)
		_, err := s.Start(ctx, client.StartRequest{ID: "more", Program: sh(t, "exec sleep 1000"), Stdio: client.Stdio{Managed: n.managed("more")}})
		if err == nil {
			t.Logf("%d files are enough", room)
			break
		}
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("with room for %d files: %v", room, err)
		}
		say(t, in, out, "still here\n")
	}
	limitFiles(t, pid, 3)
	dialed := make(chan error, 1)
	go func() {
		c, err := client.Dial(ctx, n.dir+"/socket")
		if err == nil {
			err = c.Close()
		}
		dialed <- err
	}()
	say(t, in, out, "still here\n")
	limitFiles(t, pid, 4096)
	if err := <-dialed; err != nil {
		t.Errorf("a connection that had to wait: %v", err)
	}
	list, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.ID == "more" {
			continue
		}
		if p.ID != "cat" || p.Exited {
			t.Errorf("%+v", p)
		}
	}
	if len(list) < 2 {
		s.start("more", sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed("more")})
	}
	const ofMore = 4                                                           // pidfd, two FIFOs, log
	settles(t, "files", files+ofMore, func() int { return openFiles(t, pid) }) // the second connection goes by itself
}
