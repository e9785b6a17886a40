package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

// Options says what to run against what.
type Options struct {
	Runtime string // "berth" or "containerd"
	Focus   string // regular expression of specs; "" means all
	Skip    string
	Reports string // folder of the JUnit files; emptied first
	Dir     string // folder of the runtime; must be new, and short enough for a socket's path
	Output  *os.File
}

// Run starts a registry and a runtime and runs the suite against it. The suite's own exit status says only whether a spec
// failed; what failed is in the reports.
func Run(ctx context.Context, o Options) (err error) {
	repo, err := node.Repo()
	if err != nil {
		return err
	}
	images, err := node.ImageLayout()
	if err != nil {
		return err
	}
	reg, err := registry.Start(registry.Config{Layouts: []string{images}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reg.Close()) }()
	n, err := newNode(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := reg.WriteHosts(n.Certs, registry.Upstreams()...); err != nil {
		return err
	}
	if err := forwardPackets(); err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(o.Reports), os.MkdirAll(o.Reports, 0o755)); err != nil {
		return err
	}
	for _, p := range passes(o) {
		err = errors.Join(err, critest(ctx, filepath.Join(repo, "build", "bin", "critest"), n.Socket, o, p))
	}
	err = errors.Join(err, removePods(ctx, n)) // specs that fail leave theirs
	if copyErr := copyFile(n.LogPath, filepath.Join(o.Reports, o.Runtime+".log")); copyErr != nil {
		err = errors.Join(err, copyErr)
	}
	return err
}

func removePods(ctx context.Context, n *node.Node) (err error) {
	c, err := n.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return c.RemoveAll(ctx)
}

func newNode(o Options) (*node.Node, error) {
	switch o.Runtime {
	case "berth":
		return node.NewBerth(o.Dir, node.Options{})
	case "containerd":
		return node.NewContainerd(o.Dir, "registry.k8s.io/pause:3.9")
	default:
		return nil, fmt.Errorf("no runtime named %q: have berth and containerd", o.Runtime)
	}
}

// pass is one run of the suite.
type pass struct {
	report, focus string
	flags         []string
}

// passes are the whole suite, and its streaming specs again over WebSocket instead of SPDY.
func passes(o Options) []pass {
	all := []pass{{report: "junit.xml", focus: o.Focus}}
	if o.Focus == "" {
		all = append(all, pass{
			report: "junit-websocket.xml", focus: "Streaming",
			flags: []string{"--websocket-exec", "--websocket-attach", "--websocket-portforward"},
		})
	}
	return all
}

// critest runs the suite one spec at a time: the specs that pull and remove images are not independent.
func critest(ctx context.Context, binary, socket string, o Options, p pass) error {
	args := append([]string{
		"--runtime-endpoint=unix://" + socket, "--image-endpoint=unix://" + socket, "--ginkgo.junit-report=" + filepath.Join(o.Reports, p.report),
		"--ginkgo.no-color", "--ginkgo.timeout=30m",
	}, p.flags...)
	if p.focus != "" {
		args = append(args, "--ginkgo.focus="+p.focus)
	}
	if o.Skip != "" {
		args = append(args, "--ginkgo.skip="+o.Skip)
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = o.Output, o.Output
	cmd.Dir = o.Dir // it looks for a crictl.yaml beside itself and here
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("run critest: %w", err)
	}
	fmt.Fprintf(o.Output, "critest ran for %.1f s\n", time.Since(began).Seconds())
	return nil
}

// forwardPackets lets this network namespace route, as a node does.
func forwardPackets() error {
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
