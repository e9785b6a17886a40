package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/images"
	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

func TestMain(m *testing.M) { testutil.Main(m) }

const (
	busybox = "registry.k8s.io/" + images.Busybox
	web     = "docker.io/" + images.Web
)

// fixture is a berthd with its registry and a client.
type fixture struct {
	*node.Node
	*node.Client
	registry *registry.Server
	logs     string
}

func setup(t *testing.T) *fixture {
	t.Helper()
	testutil.RequireRoot(t)
	layout, err := node.ImageLayout()
	testutil.Must(t, err)
	reg, err := registry.Start(registry.Config{Layouts: []string{layout}})
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, reg.Close()) })
	dir, err := os.MkdirTemp("", "c") // short: sockets lie below
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, os.RemoveAll(dir)) })
	n, err := node.NewBerth(dir, node.Options{})
	testutil.Must(t, err)
	testutil.Must(t, reg.WriteHosts(n.Certs, registry.Upstreams()...))
	f := &fixture{Node: n, registry: reg, logs: filepath.Join(dir, "pod-logs")}
	t.Cleanup(func() { f.finish(t) })
	f.start(t)
	return f
}

// start starts berthd and dials it anew.
func (f *fixture) start(t *testing.T) {
	t.Helper()
	testutil.Must(t, f.Node.Start(t.Context()))
	c, err := f.Dial()
	testutil.Must(t, err)
	f.Client = c
	t.Cleanup(func() { testutil.Must(t, c.Close()) })
}

// finish removes all pods, ends the node and lets the package's leak check judge what is left.
func (f *fixture) finish(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if f.PID() != 0 {
		c, err := f.Dial() // the test's own client may be closed by now
		testutil.Must(t, err)
		defer c.Close()
		if err := c.RemoveAll(ctx); err != nil {
			t.Errorf("remove all pods: %v", err)
		}
		if left, err := f.Leftovers(); err != nil || len(left) > 0 {
			t.Errorf("left after the removal of all pods: %q, %v", left, err)
		}
	}
	if t.Failed() {
		t.Log(f.LogTail(12000))
	}
	if err := f.Node.Close(); err != nil {
		t.Error(err)
	}
}

// killKeeper kills the keeper of the node and waits for its end.
func (f *fixture) killKeeper(t *testing.T) {
	t.Helper()
	pid, err := f.KeeperPID()
	testutil.Must(t, err)
	if pid == 0 {
		t.Fatal("there is no keeper")
	}
	testutil.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	testutil.Must(t, node.Eventually(t.Context(), 10*time.Second, func() error {
		now, err := f.KeeperPID()
		if err == nil && now == pid {
			err = fmt.Errorf("keeper %d lives", pid)
		}
		return err
	}))
}

// wantKeeper waits for a new keeper.
func (f *fixture) wantKeeper(t *testing.T) {
	t.Helper()
	testutil.Must(t, node.Eventually(t.Context(), 10*time.Second, func() error {
		pid, err := f.KeeperPID()
		if err == nil && pid == 0 {
			err = errors.New("there is no keeper")
		}
		return err
	}))
}

func (f *fixture) pod(t *testing.T, name string) *node.Pod {
	t.Helper()
	p, err := f.RunPod(t.Context(), node.PodConfig(name, f.logs))
	testutil.Must(t, err)
	return p
}

func run(t *testing.T, p *node.Pod, name, image string, command ...string) *node.Container {
	t.Helper()
	c, err := p.Run(t.Context(), node.ContainerConfig(name, image, command...))
	testutil.Must(t, err)
	return c
}

func exec(t *testing.T, c *node.Container, command ...string) string {
	t.Helper()
	out, err := c.Exec(t.Context(), command...)
	testutil.Must(t, err)
	return out
}

// wantServes wants a pod's web server to answer.
func wantServes(t *testing.T, ip string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	testutil.Must(t, node.Eventually(t.Context(), 10*time.Second, func() error {
		resp, err := client.Get("http://" + ip + "/")
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	}))
}
