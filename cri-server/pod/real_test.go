package pod_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// TestReal runs everything on one node, since building its programs costs more than the tests.
func TestReal(t *testing.T) {
	n := newNode(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *node)
	}{
		{"life", life},
		{"exec", execSync},
		{"terminal", terminal},
		{"attach", attach},
		{"attach before the start", attachFirst},
		{"forward", forward},
		{"shared pids", sharedPIDs},
		{"volumes", volumes},
		{"memory", memory},
		{"bad", bad},
		{"restart", restart},
		{"users", users},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outer := n.t
			n.t = t
			defer func() { n.t = outer }()
			tt.run(t, n)
		})
	}
}

func life(t *testing.T, n *node) {
	id := n.pod("life", nil)
	c := n.run(id, "main", nil, "host", "cat:/etc/hosts", "cat:/etc/hostname", "trap:7")
	n.logged(c, "trapped")
	n.logged(c, "host life-host")
	n.logged(c, "localhost ip6-localhost")
	p, err := n.Pod(t.Context(), id)
	testutil.Must(t, err)
	s, err := n.PodStats(t.Context(), id)
	if err != nil || len(s.Containers) != 1 || s.Containers[0].Stats.Memory.Usage == 0 || s.Stats.Total.CPU.Usage == 0 {
		t.Errorf("stats %+v, %v", s, err)
	}
	if err := n.StopContainer(t.Context(), c, time.Minute); err != nil {
		t.Fatal(err)
	}
	if s := n.ended(c); s.ExitCode != 7 || s.Reason != "Error" || s.StartedAt.After(s.FinishedAt) {
		t.Errorf("got %+v", s)
	}
	if err := n.RemovePod(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.Netns); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pin is left: %v", err)
	}
}

func execSync(t *testing.T, n *node) {
	id := n.pod("exec", nil)
	c := n.run(id, "main", nil, "loop")
	r, err := n.exec(c, 0, "print:out", "stderr:err", "exit:3")
	if err != nil || string(r.Stdout) != "print out\n" || string(r.Stderr) != "err\n" || r.ExitCode != 3 {
		t.Errorf("got %+v, %v", r, err)
	}
	// A child that keeps the pipes open and outlives the command holds nobody up.
	began := time.Now()
	if r, err := n.exec(c, 0, "orphan", "print:done"); err != nil || !strings.Contains(string(r.Stdout), "print done") {
		t.Errorf("got %+v, %v after %v", r, err, time.Since(began))
	}
	if _, err := n.exec(c, 200*time.Millisecond, "forks:2", "loop"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := n.ExecSync(t.Context(), c, []string{"/no/such/thing"}, 0); err == nil {
		t.Error("ran what is not there")
	}
	if _, err := n.ExecSync(t.Context(), c, nil, 0); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("no command: %v", err)
	}
	var out, errs sharedBuffer
	exit, err := n.Exec(t.Context(), c, pod.ExecStream{
		Cmd: []string{"/bin/probe", "line", "exit:4"}, Stdin: strings.NewReader("hello\n"), Stdout: &out, Stderr: &errs,
	})
	if err != nil || exit != 4 || out.String() != "line \"hello\\n\"\n" {
		t.Errorf("exec with stdin: %d, %q, %q, %v", exit, out.String(), errs.String(), err)
	}
	testutil.Must(t, n.RemovePod(t.Context(), id))
	if _, err := n.exec(c, 0, "print:x"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("exec in a removed container: %v", err)
	}
}

// sharedBuffer is written by one goroutine and read by another.
type sharedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedBuffer) Close() error { return nil }

func (s *sharedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func terminal(t *testing.T, n *node) {
	id := n.pod("terminal", nil)
	c := n.run(id, "main", nil, "loop")
	var out sharedBuffer
	in, type_ := io.Pipe()
	sizes := make(chan pod.Size, 1)
	sizes <- pod.Size{Width: 100, Height: 30}
	done := make(chan error, 1)
	go func() {
		exit, err := n.Exec(context.Background(), c, pod.ExecStream{
			Cmd: []string{"/bin/probe", "line", "tty", "exit:5"}, TTY: true, Stdin: in, Stdout: &out, Resize: sizes,
		})
		if exit != 5 {
			err = errors.Join(err, errors.New("wrong exit code"))
		}
		done <- err
	}()
	n.until("the size is taken", func() bool { return len(sizes) == 0 })
	_, err := type_.Write([]byte("typed\n"))
	testutil.Must(t, err)
	if err := <-done; err != nil {
		t.Error(err)
	}
	testutil.Must(t, type_.Close())
	if !strings.Contains(out.String(), `line "typed\n"`) || !strings.Contains(out.String(), "100 30 true") {
		t.Errorf("got %q", out.String())
	}
	testutil.Must(t, n.RemovePod(t.Context(), id))
}

func attach(t *testing.T, n *node) {
	id := n.pod("attach", nil)
	c := n.run(id, "main", func(c *spec.ContainerConfig) { c.Stdin, c.StdinOnce = true, true }, "line", "print:end")
	var out sharedBuffer
	if err := n.Attach(t.Context(), c, pod.AttachStream{Stdin: strings.NewReader("to it\n"), Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `line "to it\n"`) || !strings.Contains(out.String(), "print end") {
		t.Errorf("got %q", out.String())
	}
	n.logged(c, "print end")
	other := n.run(id, "other", nil, "loop")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := n.Attach(ctx, other, pod.AttachStream{Stdout: &out}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a client that goes away: %v", err)
	}
	if s, err := n.Container(t.Context(), other); err != nil || s.State != pod.ContainerRunning {
		t.Errorf("it stopped with its client: %+v, %v", s, err)
	}
	testutil.Must(t, n.RemovePod(t.Context(), id))
}

func forward(t *testing.T, n *node) {
	id := n.pod("forward", nil)
	p, err := n.Pod(t.Context(), id)
	testutil.Must(t, err)
	h, err := netns.Open(p.Netns)
	testutil.Must(t, err)
	var l net.Listener
	testutil.Must(t, h.Do(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err }))
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		text, _ := io.ReadAll(conn) // to the end of the client's direction
		_, _ = conn.Write(append([]byte("got "), text...))
		_ = conn.Close()
	}()
	port := int32(l.Addr().(*net.TCPAddr).Port)
	s := &duplex{in: strings.NewReader("ping")}
	if err := n.PortForward(t.Context(), id, port, s); err != nil || s.out.String() != "got ping" {
		t.Errorf("got %q, %v", s.out.String(), err)
	}
	if err := n.PortForward(t.Context(), id, 1, &duplex{in: strings.NewReader("")}); !errors.Is(err, errdefs.ErrUnavailable) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	testutil.Must(t, errors.Join(l.Close(), h.Close()))
	testutil.Must(t, n.RemovePod(t.Context(), id))
}

type duplex struct {
	in  io.Reader
	out bytes.Buffer
}

func (d *duplex) Read(p []byte) (int, error)  { return d.in.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.out.Write(p) }
func (d *duplex) Close() error                { return nil }

func sharedPIDs(t *testing.T, n *node) {
	id := n.pod("shared", nil)
	share := func(c *spec.ContainerConfig) { c.Security.Namespaces.PID = spec.NamespacePod }
	first := n.run(id, "first", share, "pid", "loop")
	n.logged(first, "pid ")
	second := n.run(id, "second", share, "cat:/proc/1/comm", "ls:/proc", "loop")
	n.logged(second, "pause")
	target := n.run(id, "target", func(c *spec.ContainerConfig) {
		c.Security.Namespaces.PID, c.Security.Namespaces.TargetID = spec.NamespaceTarget, second
	}, "cat:/proc/1/comm", "print:there", "loop")
	n.logged(target, "pause")
	p, err := n.Pod(t.Context(), id)
	if err != nil || p.PausePID == 0 {
		t.Errorf("pod %+v, %v", p, err)
	}
	testutil.Must(t, n.StopPod(t.Context(), id))
	testutil.Must(t, n.RemovePod(t.Context(), id))
}

func volumes(t *testing.T, n *node) {
	id := n.pod("volumes", nil)
	missing := filepath.Join(n.dir, "made", "by", "us")
	c := n.run(id, "main", func(c *spec.ContainerConfig) {
		c.Mounts = []spec.Mount{
			{ContainerPath: "/mnt/host", HostPath: missing},
			{ContainerPath: "/mnt/image", Image: &spec.ImageVolume{Image: "probe"}, ImageSubPath: "vol/sub", Readonly: true},
		}
		user := int64(33)
		c.Security.RunAsUser, c.Security.SupplementalGroups = &user, []int64{7}
	}, "ids", "stat:/vol", "stat:/vol/sub/file", "link:/vol/sub/link", "touch:/vol/new", "ls:/mnt/image", "touch:/mnt/image/no", "ls:/mnt/host", "print:end")
	n.logged(c, "print end")
	s := n.ended(c)
	log, err := os.ReadFile(s.LogPath)
	testutil.Must(t, err)
	for _, want := range []string{
		"ids 33 33 33 33 [7 33 44]", "stat /vol 41777 0:0", "stat /vol/sub/file 100640 33:44", "link file", "touched /vol/new",
		"entry file", "/mnt/image/no error 30",
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	if got := s.User; got.UID != 33 || got.GID != 33 || len(got.Groups) != 3 || s.Config.Mounts[1].Image.Resolved == "" {
		t.Errorf("status %+v", s)
	}
	if _, err := os.Stat(missing); err != nil {
		t.Errorf("the missing host path was not made: %v", err)
	}
	testutil.Must(t, n.RemovePod(t.Context(), id))
}

func memory(t *testing.T, n *node) {
	id := n.pod("memory", nil)
	c := n.run(id, "main", func(c *spec.ContainerConfig) { c.Resources = &spec.Resources{Memory: 32 << 20} }, "alloc:200")
	if s := n.ended(c); s.Reason != "OOMKilled" || s.ExitCode != 137 {
		t.Errorf("got %+v", s)
	}
	testutil.Must(t, n.RemovePod(t.Context(), id))
}

func bad(t *testing.T, n *node) {
	id := n.pod("bad", nil)
	c := n.container(id, "nothing", func(c *spec.ContainerConfig) { c.Command = []string{"/no/such/thing"} })
	err := n.StartContainer(t.Context(), c)
	s := n.ended(c)
	if err == nil || s.ExitCode != 127 || s.Reason != "ContainerStartError" || !strings.Contains(s.Message, "/no/such/thing") {
		t.Errorf("got %+v, %v", s, err)
	}
	_, err = n.CreateContainer(t.Context(), id, spec.ContainerConfig{
		Name: "log", Image: "probe", LogPath: "no/such/folder/x.log", Security: spec.ContainerSecurity{Namespaces: spec.Namespaces{PID: 1}},
	})
	if err == nil || !strings.Contains(err.Error(), "no/such/folder") {
		t.Errorf("missing log folder: %v", err)
	}
	if _, err := n.CreateContainer(t.Context(), id, spec.ContainerConfig{Name: "i", Image: "missing"}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("missing image: %v", err)
	}
	if got := n.Containers(t.Context(), pod.ContainerFilter{PodID: id}); len(got) != 1 {
		t.Errorf("failed creations are listed: %+v", got)
	}
	testutil.Must(t, n.RemovePod(t.Context(), id))
}

// many lives the lives of pods at once, each removed by two clients while it is being stopped by a third.
func many(t *testing.T, n *node) {
	var group errgroup.Group
	for i := range 12 {
		group.Go(func() error {
			ctx := context.Background()
			name := fmt.Sprint("many", i)
			id, err := n.RunPod(ctx, spec.PodConfig{Name: name, Namespace: "default", UID: name})
			if err != nil {
				return err
			}
			mode := spec.NamespaceMode(i % 2)
			c, err := n.CreateContainer(ctx, id, spec.ContainerConfig{
				Name: "c", Image: "probe", Args: []string{"loop"},
				Security: spec.ContainerSecurity{Namespaces: spec.Namespaces{PID: mode}},
			})
			if err != nil {
				return err
			}
			if err := n.StartContainer(ctx, c); err != nil {
				return err
			}
			var ends errgroup.Group
			ends.Go(func() error { return n.StopContainer(ctx, c, time.Minute) }) // it ignores the signal
			ends.Go(func() error { return n.RemovePod(ctx, id) })
			ends.Go(func() error { return n.RemovePod(ctx, id) })
			return ends.Wait()
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if left := n.Pods(t.Context(), pod.PodFilter{}); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func restart(t *testing.T, n *node) {
	id := n.pod("restart", nil)
	runs := n.run(id, "runs", nil, "trap:6")
	ends := n.run(id, "ends", nil, "wait:/tmp/go", "exit:9")
	created := n.container(id, "created", nil, "print:late", "loop")
	shared := n.run(id, "shared", func(c *spec.ContainerConfig) { c.Security.Namespaces.PID = spec.NamespacePod }, "loop")
	n.logged(runs, "trapped")
	if _, err := n.exec(ends, 0, "touch:/tmp/go"); err != nil {
		t.Fatal(err)
	}
	n.stop()
	n.start()
	if s := n.ended(ends); s.ExitCode != 9 || s.FinishedAt.IsZero() {
		t.Errorf("got %+v", s)
	}
	if s, err := n.Container(t.Context(), runs); err != nil || s.State != pod.ContainerRunning || s.PID == 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	if r, err := n.exec(shared, 0, "print:again"); err != nil || string(r.Stdout) != "print again\n" {
		t.Errorf("exec after a restart: %+v, %v", r, err)
	}
	if err := n.StartContainer(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	n.logged(created, "print late")
	if err := n.StopContainer(t.Context(), runs, time.Minute); err != nil {
		t.Fatal(err)
	}
	if s := n.ended(runs); s.ExitCode != 6 {
		t.Errorf("got %+v", s)
	}
	testutil.Must(t, n.RemovePod(t.Context(), id))
}
