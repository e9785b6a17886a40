package fork_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/fork"
)

const someNamespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// shell builds a program that runs a shell script with the launcher's stdio.
func shell(b *fork.Builder, script string) {
	for i := range 3 {
		b.Call("set stdio", unix.SYS_DUP3, b.Stdio(i), fork.Imm(uint64(i)), fork.Imm(0))
	}
	b.Call("execute sh", unix.SYS_EXECVE, b.Str("/bin/sh"), b.Argv([]string{"sh", "-c", script}), b.Argv([]string{"PATH=/bin:/usr/bin", "LC_ALL=C"}))
}

func program(t testing.TB, b *fork.Builder) *fork.Program {
	t.Helper()
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// stdio returns files for a child's stdio: nothing to read, a temporary file to write.
func stdio(t testing.TB) (files [3]*os.File, output func() string) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close(); out.Close() })
	return [3]*os.File{null, out, out}, func() string {
		data, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

// end waits for the child by its pidfd and returns its status.
func end(t testing.TB, c fork.Child) int {
	t.Helper()
	defer c.Pidfd.Close()
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PIDFD, int(c.Pidfd.Fd()), &info, unix.WEXITED, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatalf("wait for %d by its pidfd: %v", c.PID, err)
		}
		break
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(c.PID, &status, 0, nil); err != syscall.ECHILD {
		t.Errorf("pid %d was still there after its pidfd was waited for: %d, %v", c.PID, pid, err)
	}
	return int(childStatus(&info))
}

func run(t testing.TB, p *fork.Program, o fork.Options) (status int, output string) {
	t.Helper()
	files, out := stdio(t)
	o.Stdio = files
	c, err := fork.Start(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return end(t, c), out()
}

func TestStartInNamespaces(t *testing.T) {
	b := fork.NewBuilder()
	b.Call("set the host name", unix.SYS_SETHOSTNAME, b.Str("inside"), fork.Imm(6))
	b.Call("make mounts private", unix.SYS_MOUNT, b.Str("none"), b.Str("/"), fork.Null(), fork.Imm(unix.MS_REC|unix.MS_PRIVATE), fork.Null())
	b.Call("mount proc", unix.SYS_MOUNT, b.Str("proc"), b.Str("/proc"), b.Str("proc"), fork.Imm(0), fork.Null())
	shell(b, `cat /proc/sys/kernel/hostname; echo $$; exit 7`)
	status, out := run(t, program(t, b), fork.Options{Flags: someNamespaces})
	if status != 7 || out != "inside\n1\n" {
		t.Errorf("status %d, output %q; want 7 and the inner host name and pid", status, out)
	}
}

func TestStepErrorSaysWhichCall(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *fork.Builder)
		want  fork.StepError
		is    error
	}{
		{"execve", func(b *fork.Builder) {
			b.Call("execute /no/such", unix.SYS_EXECVE, b.Str("/no/such"), b.Argv([]string{"x"}), b.Argv(nil))
		}, fork.StepError{"execute /no/such", unix.ENOENT}, fs.ErrNotExist},
		{"first", func(b *fork.Builder) {
			b.Call("change to /dev/null", unix.SYS_CHDIR, b.Str("/dev/null"))
			shell(b, "exit 0")
		}, fork.StepError{"change to /dev/null", unix.ENOTDIR}, unix.ENOTDIR},
		{"result of an ignored failure", func(b *fork.Builder) {
			fd := b.Call("open", unix.SYS_OPENAT, fork.Int(unix.AT_FDCWD), b.Str("/no/such"), fork.Imm(0)).Ignore(unix.ENOENT).Result()
			b.Call("close what was not opened", unix.SYS_CLOSE, fd)
			shell(b, "exit 0")
		}, fork.StepError{"close what was not opened", unix.EBADF}, unix.EBADF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := fork.NewBuilder()
			tt.build(b)
			files, _ := stdio(t)
			_, err := fork.Start(program(t, b), fork.Options{Stdio: files})
			var step *fork.StepError
			if !errors.As(err, &step) || *step != tt.want {
				t.Fatalf("got %v, want %v", err, &tt.want)
			}
			if !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
				t.Errorf("a child is left: %v", err)
			}
		})
	}
}

func TestResultsAndFilesAreArguments(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/in", []byte("from the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("written\n")
	b := fork.NewBuilder()
	fd := b.Call("open in", unix.SYS_OPENAT, b.File(d), b.Str("in"), fork.Imm(unix.O_RDONLY)).Result()
	b.Call("make stdin", unix.SYS_DUP3, fd, fork.Imm(0), fork.Imm(0))
	iov := make([]byte, 16)
	iov[8] = byte(len(text))
	b.Call("write vector", unix.SYS_WRITEV, b.Stdio(1), b.Struct(iov, map[int]fork.Arg{0: b.Bytes(text)}), fork.Imm(1))
	b.Call("set stdout", unix.SYS_DUP3, b.Stdio(1), fork.Imm(1), fork.Imm(0))
	b.Call("execute cat", unix.SYS_EXECVE, b.Str("/bin/cat"), b.Argv([]string{"cat"}), b.Argv(nil))
	p := program(t, b)
	for range 2 { // a program can be started again
		if status, out := run(t, p, fork.Options{}); status != 0 || out != "written\nfrom the file" {
			t.Errorf("status %d, output %q", status, out)
		}
	}
}

// Scoped lookups fail with EAGAIN while others rename; a start must not.
func TestOpenat2IsRepeated(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"/a", "/a/b", "/other"} {
		if err := os.Mkdir(dir+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			names := [2]string{dir + "/other", dir + "/another"}
			if err := os.Rename(names[i%2], names[(i+1)%2]); err != nil {
				t.Error(err)
				return
			}
		}
	})
	how := make([]byte, 24) // struct open_how
	binary.NativeEndian.PutUint64(how, unix.O_PATH)
	binary.NativeEndian.PutUint64(how[16:], unix.RESOLVE_IN_ROOT)
	b := fork.NewBuilder()
	root := b.Call("open the root", unix.SYS_OPENAT, fork.Int(unix.AT_FDCWD), b.Str(dir), fork.Imm(unix.O_PATH)).Result()
	for range 500 {
		fd := b.Call("open a folder", unix.SYS_OPENAT2, root, b.Str("a/b/../../a/b/../b"), b.Bytes(how), fork.Imm(uint64(len(how)))).Result()
		b.Call("close it", unix.SYS_CLOSE, fd)
	}
	shell(b, "exit 0")
	p := program(t, b)
	for range 10 {
		run(t, p, fork.Options{})
	}
	close(stop)
	wg.Wait()
}

func TestNoDescriptorLeaks(t *testing.T) {
	secret, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	if _, err := unix.FcntlInt(secret.Fd(), unix.F_SETFD, 0); err != nil { // even one that is not close-on-exec
		t.Fatal(err)
	}
	own, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	b := fork.NewBuilder()
	b.Call("look at a file", unix.SYS_FCHDIR, b.File(own))
	shell(b, "for f in /proc/self/fd/*; do echo ${f##*/}; done")
	before := countFiles(t)
	_, out := run(t, program(t, b), fork.Options{Flags: unix.CLONE_NEWUTS})
	for fd := range strings.FieldsSeq(out) {
		if fd != "0" && fd != "1" && fd != "2" && fd != "3" { // 3: the shell's own, of the folder
			t.Errorf("descriptor %s is open in the child: %q", fd, out)
		}
	}
	if after := countFiles(t); after > before+2 { // the two stdio files of run
		t.Errorf("%d files before, %d after a start", before, after)
	}
}

func countFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestSignalsAreDefaultInTheChild(t *testing.T) {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Reset(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGTERM)
	defer signal.Stop(caught)
	b := fork.NewBuilder()
	for i := range 3 {
		b.Call("set stdio", unix.SYS_DUP3, b.Stdio(i), fork.Imm(uint64(i)), fork.Imm(0))
	}
	b.Call("execute grep", unix.SYS_EXECVE, b.Str("/bin/grep"), b.Argv([]string{"grep", "^Sig", "/proc/self/status"}), b.Argv(nil))
	_, out := run(t, program(t, b), fork.Options{})
	for _, name := range []string{"SigBlk", "SigIgn"} {
		if want := name + ":\t0000000000000000\n"; !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
}

func TestLowDescriptorsAsStdio(t *testing.T) {
	// A launcher may itself hold the files on 0, 1 and 2.
	b := fork.NewBuilder()
	shell(b, "exit 3")
	c, err := fork.Start(program(t, b), fork.Options{Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	if status := end(t, c); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
}

func TestManyAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			b := fork.NewBuilder()
			shell(b, fmt.Sprintf("echo %d; exit %d", i, i))
			if status, out := run(t, program(t, b), fork.Options{Flags: someNamespaces}); status != i || out != fmt.Sprintln(i) {
				t.Errorf("start %d: status %d, output %q", i, status, out)
			}
		})
	}
	wg.Wait()
}

// A start must not wait for the programs of other starts.
func TestStartDoesNotWaitForOthers(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	forked := make(chan struct{})
	done := make(chan error)
	go func() {
		b := fork.NewBuilder()
		buf := b.Bytes(make([]byte, 8))
		b.Call("set blocking", unix.SYS_FCNTL, b.File(r), fork.Imm(unix.F_SETFL), fork.Imm(0))
		b.Call("read until the test says go", unix.SYS_READ, b.File(r), buf, fork.Imm(8))
		b.Call("execute /no/such", unix.SYS_EXECVE, b.Str("/no/such"), b.Argv(nil), b.Argv(nil))
		p, err := b.Program()
		if err != nil {
			done <- err
			return
		}
		defer p.Close()
		_, err = fork.Start(p, fork.Options{Forked: func(fork.Child) error { close(forked); return nil }})
		done <- err
	}()
	<-forked
	for range 8 {
		b := fork.NewBuilder()
		shell(b, "exit 0")
		run(t, program(t, b), fork.Options{})
	}
	if _, err := w.Write([]byte("go")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the blocked start: %v", err)
	}
}

func TestForkedRefuses(t *testing.T) {
	b := fork.NewBuilder()
	shell(b, "sleep 1000")
	files, _ := stdio(t)
	refused := errors.New("refused")
	_, err := fork.Start(program(t, b), fork.Options{Stdio: files, Forked: func(fork.Child) error { return refused }})
	if !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("a child is left: %v", err)
	}
}

func TestJoinPIDNamespace(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(int(r.Fd()), false); err != nil { // a shell's read does not wait for EAGAIN
		t.Fatal(err)
	}
	b := fork.NewBuilder()
	shell(b, "read x")
	files, _ := stdio(t)
	outer, err := fork.Start(program(t, b), fork.Options{Flags: unix.CLONE_NEWPID, Stdio: [3]*os.File{r, files[1], files[2]}})
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, outer)
	defer w.Close()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", outer.PID))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for range 3 {
		b = fork.NewBuilder()
		shell(b, "echo $$")
		_, out := run(t, program(t, b), fork.Options{PIDNS: ns})
		var inner int
		if _, err := fmt.Sscan(out, &inner); err != nil || inner < 2 || inner > 100 {
			t.Errorf("pid %q in the joined namespace", out)
		}
	}
	b = fork.NewBuilder()
	shell(b, "echo $$")
	c, out := run(t, program(t, b), fork.Options{})
	if c != 0 || strings.TrimSpace(out) == "1" {
		t.Errorf("a later start was born in the joined namespace: %q", out)
	}
}

func TestStartInCgroup(t *testing.T) {
	root := ""
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			root = dir
		}
	}
	if root == "" {
		testutil.Skip(t, "no cgroup v2 is mounted here")
	}
	name := fmt.Sprintf("berth-test-fork-%d", os.Getpid())
	if err := os.Mkdir(root+"/"+name, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Remove(root + "/" + name); err != nil {
			t.Error(err)
		}
	}()
	dir, err := os.Open(root + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	b := fork.NewBuilder()
	shell(b, "cat /proc/self/cgroup")
	status, out := run(t, program(t, b), fork.Options{Cgroup: dir})
	if status != 0 || !strings.Contains(out, "/"+name+"\n") {
		t.Errorf("status %d, in\n%s", status, out)
	}
}

func TestRefused(t *testing.T) {
	b := fork.NewBuilder()
	shell(b, "exit 0")
	p := program(t, b)
	if _, err := fork.Start(p, fork.Options{Flags: unix.CLONE_VM}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("CLONE_VM: %v", err)
	}
	if _, err := fork.Start(p, fork.Options{}); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "no stdio 0") {
		t.Errorf("without stdio: %v", err)
	}
}

func TestStdoutReachesAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files, _ := stdio(t)
	b := fork.NewBuilder()
	shell(b, "echo hello")
	c, err := fork.Start(program(t, b), fork.Options{Stdio: [3]*os.File{files[0], w, files[2]}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(data, []byte("hello\n")) {
		t.Errorf("%q, %v", data, err)
	}
	end(t, c)
}

func BenchmarkStart(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	pb := fork.NewBuilder()
	pb.Call("execute true", unix.SYS_EXECVE, pb.Str("/bin/true"), pb.Argv([]string{"true"}), pb.Argv(nil))
	p := program(b, pb)
	for b.Loop() {
		c, err := fork.Start(p, fork.Options{Flags: someNamespaces})
		if err != nil {
			b.Fatal(err)
		}
		end(b, c)
	}
}
