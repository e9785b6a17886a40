package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/images"
	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// The images of the tests, as users write them.
const (
	busybox = "registry.k8s.io/" + images.Busybox
	nginx   = "registry.k8s.io/" + images.Nginx
	web     = "docker.io/" + images.Web
	layers  = "docker.io/" + images.Layers
)

// fixture is a node with its registry and a client.
type fixture struct {
	*node.Node
	*node.Client
	registry *registry.Server
	logs     string
}

// setup starts a node whose registry also serves the images of further layouts. At the end of the test it removes every pod
// and wants nothing of them to be left.
func setup(t *testing.T, o node.Options, layouts ...string) *fixture {
	t.Helper()
	testutil.RequireRoot(t)
	f := prepare(t, o, layouts...)
	f.start(t)
	t.Cleanup(func() { f.finish(t) })
	return f
}

// prepare makes a node that does not run yet.
func prepare(t *testing.T, o node.Options, layouts ...string) *fixture {
	t.Helper()
	layout, err := node.ImageLayout()
	testutil.Must(t, err)
	reg, err := registry.Start(registry.Config{Layouts: append([]string{layout}, layouts...)})
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, reg.Close()) })
	dir, err := os.MkdirTemp("", "n") // short: sockets lie below
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, os.RemoveAll(dir)) })
	n, err := newNode(dir, o)
	testutil.Must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(n.LogTail(60000))
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	testutil.Must(t, reg.WriteHosts(n.Certs, registry.Upstreams()...))
	return &fixture{Node: n, registry: reg, logs: filepath.Join(dir, "pod-logs")}
}

// newNode makes a berthd, or the runtime that BERTH_TEST_RUNTIME names, to check the tests themselves.
func newNode(dir string, o node.Options) (*node.Node, error) {
	if os.Getenv("BERTH_TEST_RUNTIME") == "containerd" {
		return node.NewContainerd(dir, "registry.k8s.io/"+images.Pause)
	}
	return node.NewBerth(dir, o)
}

// start starts the node and dials it.
func (f *fixture) start(t *testing.T) {
	t.Helper()
	testutil.Must(t, f.Node.Start(t.Context()))
	c, err := f.Dial()
	testutil.Must(t, err)
	f.Client = c
	t.Cleanup(func() { testutil.Must(t, c.Close()) })
}

// pod runs a plain pod, changed by the given functions.
func (f *fixture) pod(t *testing.T, name string, change ...podChange) *node.Pod {
	t.Helper()
	p, err := f.tryPod(t, name, change...)
	testutil.Must(t, err)
	return p
}

func (f *fixture) tryPod(t *testing.T, name string, change ...podChange) (*node.Pod, error) {
	t.Helper()
	cfg := node.PodConfig(name, f.logs)
	for _, c := range change {
		c(cfg)
	}
	return f.RunPod(t.Context(), cfg)
}

// run runs a container in a pod.
func run(t *testing.T, p *node.Pod, name, image string, command ...string) *node.Container {
	t.Helper()
	c, err := p.Run(t.Context(), node.ContainerConfig(name, image, command...))
	testutil.Must(t, err)
	return c
}

// exec runs a command in a container and returns what it printed.
func exec(t *testing.T, c *node.Container, command ...string) string {
	t.Helper()
	out, err := c.Exec(t.Context(), command...)
	testutil.Must(t, err)
	return out
}

// finish removes all pods and checks that nothing is left of them.
func (f *fixture) finish(t *testing.T) {
	t.Helper()
	if f.PID() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := f.Dial() // the test's own client may be closed by now
	testutil.Must(t, err)
	defer c.Close()
	if err := c.RemoveAll(ctx); err != nil {
		t.Errorf("remove all pods: %v", err)
		return
	}
	f.wantClean(t)
}

// wantClean wants nothing of pods to be on the node.
func (f *fixture) wantClean(t *testing.T) {
	t.Helper()
	left, err := f.Leftovers()
	testutil.Must(t, err)
	for _, l := range left {
		t.Errorf("left after the removal of all pods: %s", l)
	}
}
