package keeper_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/keeper/fdstore"
)

// The test binary is also the keeper, so that it can be killed, and some of the processes that it starts.
const modeVar = "BERTH_KEEPER_TEST"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(modeVar); mode {
	case "":
		// Processes of a killed keeper become ours, so that it is known that nobody else reaps them.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(m.Run())
	case "keeper":
		if err := runKeeper(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "flood":
		flood()
	case "attach":
		if err := attachAndRead(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "dial":
		dialAsOther(os.Args[1])
	case "lines":
		writeLines(os.Args[1])
	default:
		fmt.Fprintln(os.Stderr, "unknown mode", mode)
		os.Exit(2)
	}
}

// runKeeper is the keeper's main function; args are what it adds for a program that it is to become.
func runKeeper(dir string, args []string) error {
	cfg := keeper.Config{
		Socket: dir + "/socket", StateDir: dir + "/state", Args: os.Args[:2],
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	switch {
	case len(args) == 1 && args[0] == "--try":
		return keeper.Try(os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == "--resume":
		var err error
		if cfg.Resume, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	}
	cfg.Ready = func() error { _, err := os.Stdout.WriteString("ready\n"); return err }
	var err error
	if cfg.Manager, cfg.Kept, err = fdstore.FromEnvironment(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return keeper.Run(ctx, cfg)
}

// writeLines writes numbered lines to stdout and stderr, of many lengths and in pieces of many sizes, as fast as it can,
// until SIGTERM; then it ends with code 42.
func writeLines(piece string) {
	size, err := strconv.Atoi(piece)
	if err != nil {
		os.Exit(2)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	out := bufio.NewWriterSize(os.Stdout, size)
	for i := 0; ; i++ {
		select {
		case <-stop:
			if _, err := fmt.Fprintf(out, "end %d\n", i); err != nil || out.Flush() != nil {
				os.Exit(3)
			}
			os.Exit(42)
		default:
		}
		to := io.Writer(out)
		if i%7 == 3 {
			to = os.Stderr
		}
		if _, err := to.Write(numbered(i)); err != nil {
			os.Exit(3)
		}
	}
}

// numbered is line i. Some are longer than one record may be.
func numbered(i int) []byte {
	length := i % 300
	if i%1000 == 1 {
		length = 20000
	}
	line := fmt.Appendf(nil, "line %d ", i)
	for len(line) < length {
		line = append(line, "abcdefghijklmnopqrstuvwxyz"...)
	}
	return append(line, '\n')
}

// node is a keeper under test with its folder.
type node struct {
	t       testing.TB
	dir     string
	cmd     *exec.Cmd
	manager *manager // or nil
}

// newNode starts a keeper in a folder on a tmpfs.
func newNode(t testing.TB) *node {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "berth-keeper-test-")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, dir: dir}
	t.Cleanup(func() {
		n.killAll()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	n.start()
	return n
}

// start starts a keeper and waits until it listens.
func (n *node) start() {
	n.t.Helper()
	cmd := keeperCommand(n.dir)
	if n.manager != nil {
		n.manager.prepare(cmd)
	}
	n.run(cmd)
	for _, f := range cmd.ExtraFiles {
		if err := f.Close(); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *node) run(cmd *exec.Cmd) {
	n.t.Helper()
	n.cmd = cmd
	n.cmd.Stderr = os.Stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		n.t.Fatalf("keeper said %q: %v", line, err)
	}
}

func keeperCommand(dir string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = append(os.Environ(), modeVar+"=keeper")
	return cmd
}

// kill ends the keeper with SIGKILL.
func (n *node) kill() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Wait(); err == nil {
		n.t.Fatal("the keeper was not killed")
	}
	n.cmd = nil
}

// killAll ends the keeper and all processes that it knows.
func (n *node) killAll() {
	if n.cmd == nil {
		n.start()
	}
	c, err := client.Dial(context.Background(), n.dir+"/socket")
	if err != nil {
		n.t.Error(err)
		return
	}
	list, err := c.List(context.Background())
	if err != nil {
		n.t.Error(err)
	}
	for _, p := range list {
		if !p.Exited {
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				n.t.Error(err)
			}
		}
	}
	if err := c.Close(); err != nil {
		n.t.Error(err)
	}
	n.kill()
}

// session is a connection that collects events.
type session struct {
	*client.Client
	t     testing.TB
	exits map[string]client.Exit
	told  int // how often the end of a process was
}

func (n *node) dial() *session {
	n.t.Helper()
	c, err := client.Dial(context.Background(), n.dir+"/socket")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		c.Close() // the connection may have been lost with its keeper
	})
	return &session{Client: c, t: n.t, exits: make(map[string]client.Exit)}
}

// exit waits for the end of a process.
func (s *session) exit(id string) client.Exit {
	s.t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		if x, ok := s.exits[id]; ok {
			return x
		}
		select {
		case e, ok := <-s.Events():
			if !ok {
				s.t.Fatalf("connection lost while waiting for %s", id)
			}
			s.exits[e.ID] = e.Exit
			s.told++
		case <-timeout:
			s.t.Fatalf("no end of %s", id)
		}
	}
}

const allNamespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// program runs argv with the keeper's stdio.
func program(t testing.TB, env []string, argv ...string) *fork.Program {
	t.Helper()
	b := fork.NewBuilder()
	b.Call("start a session", unix.SYS_SETSID)
	for i := range 3 {
		b.Call("set stdio", unix.SYS_DUP3, b.Stdio(i), fork.Imm(uint64(i)), fork.Imm(0))
	}
	b.Call("take the terminal", unix.SYS_IOCTL, fork.Imm(0), fork.Imm(unix.TIOCSCTTY), fork.Imm(0)).Ignore(unix.ENOTTY, unix.EINVAL)
	b.Call("execute "+argv[0], unix.SYS_EXECVE, b.Str(argv[0]), b.Argv(argv), b.Argv(append(env, "PATH=/bin:/usr/bin")))
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func sh(t testing.TB, script string) *fork.Program { return program(t, nil, "/bin/sh", "-c", script) }

// managed is stdio with FIFOs and a log in the node's folder.
func (n *node) managed(id string) *client.Managed {
	return &client.Managed{Dir: filepath.Join(n.dir, "io-"+id), LogPath: n.log(id)}
}

func (n *node) log(id string) string { return filepath.Join(n.dir, id+".log") }

func (s *session) start(id string, p *fork.Program, io client.Stdio) client.Started {
	s.t.Helper()
	st, err := s.Start(context.Background(), client.StartRequest{ID: id, Program: p, Stdio: io})
	if err != nil {
		s.t.Fatalf("start %s: %v", id, err)
	}
	s.t.Cleanup(func() { st.Pidfd.Close() })
	return st
}

// record is a line of a log.
type record struct {
	Stream, Tag, Text string
}

// readLog parses a log and checks the form of every record.
func readLog(t testing.TB, path string) []record {
	t.Helper()
	return slices.Collect(records(t, path))
}

// records reads a log, which may be too large to be held in memory.
func records(t testing.TB, path string) iter.Seq[record] {
	return func(yield func(record) bool) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 64<<10)
		for i := 0; ; i++ {
			line, err := r.ReadString('\n')
			if err == io.EOF && line == "" {
				return
			}
			if err != nil {
				t.Fatalf("record %d of %s is cut off: %q, %v", i, path, line, err)
			}
			if !yield(parseRecord(t, fmt.Sprintf("record %d of %s", i, path), line)) {
				return
			}
		}
	}
}

func parseRecord(t testing.TB, name, line string) record {
	parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
	if len(parts) != 4 || (parts[2] != "F" && parts[2] != "P") {
		t.Fatalf("%s has a bad form: %q", name, line)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000000000Z", parts[0]); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return record{parts[1], parts[2], parts[3]}
}

// lines puts the lines of a stream together again that lie in several logs, one after the other.
func lines(t testing.TB, logs []string, stream string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var line strings.Builder
		for _, path := range logs {
			for r := range records(t, path) {
				if r.Stream != stream {
					continue
				}
				line.WriteString(r.Text)
				if r.Tag != "F" {
					continue
				}
				if !yield(line.String()) {
					return
				}
				line.Reset()
			}
		}
		if line.Len() > 0 {
			yield(line.String())
		}
	}
}

// text puts a stream's output together again.
func text(list []record, stream string) string {
	var b strings.Builder
	for _, r := range list {
		if r.Stream != stream {
			continue
		}
		b.WriteString(r.Text)
		if r.Tag == "F" {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
