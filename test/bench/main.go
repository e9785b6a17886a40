// Command bench measures what a node feels: pods up and down, commands, pods per second, memory per idle pod, a large pull. It
// measures berth, and Debian's containerd with runc in the same run where it is installed, over the same interface with the same
// images from the same registry. Then it measures, each in turn with what Debian has of the kind, berth-oci with the same bundle, TCP through
// the bridges of CNI plugins, and the plugins themselves.
//
//	bench [--runs N] [--json FILE] [--only berth|containerd|oci|net|cni] [--no-pull] [--null]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/images"
	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

// options is the command line.
type options struct {
	runs       int
	pods       int // idle pods for the memory figure, pods in all for the rate
	json, only string
	noPull     bool
	null       bool
}

func main() {
	os.Exit(testutil.Isolate(func() int {
		var o options
		flag.IntVar(&o.runs, "runs", 30, "how often each latency is measured")
		flag.IntVar(&o.pods, "pods", 60, "pods of the memory figure and of the rate")
		flag.StringVar(&o.json, "json", "build/bench.json", "file of the figures")
		flag.StringVar(&o.only, "only", "", "measure this alone: berth, containerd, oci, net or cni")
		flag.BoolVar(&o.null, "null", false, "net: measure berth's plugins beside themselves, which must give ratios of 1")
		flag.BoolVar(&o.noPull, "no-pull", false, "leave out the large pull")
		flag.Parse()
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		if err := run(ctx, o); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	}))
}

func run(ctx context.Context, o options) (err error) {
	report := newReport(o)
	for _, part := range []struct {
		names   []string // for --only
		measure func() error
	}{
		{[]string{"berth", "containerd"}, func() (err error) { report.Runtimes, err = measureCRI(ctx, o); return err }},
		{[]string{"oci"}, func() (err error) { report.OCI, err = measureOCI(ctx, o); return err }},
		{[]string{"net"}, func() (err error) { report.Net, err = measureNet(ctx, o); return err }},
		{[]string{"cni"}, func() (err error) { report.CNI, report.Crowds, err = measureCNI(ctx, o); return err }},
	} {
		if o.only != "" && !slices.Contains(part.names, o.only) {
			continue
		}
		if err := part.measure(); err != nil {
			return fmt.Errorf("measure %s: %w", strings.Join(part.names, ", "), err)
		}
	}
	report.Load += " to " + loadAverage()
	report.writeTables(os.Stdout)
	return report.writeJSON(o.json)
}

// measureCRI measures CRI servers.
func measureCRI(ctx context.Context, o options) (list []Figures, err error) {
	reg, err := serve(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reg.Close()) }()
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return nil, err
	}
	for _, name := range []string{"berth", "containerd"} {
		if o.only != "" && o.only != name {
			continue
		}
		figures, err := measureRuntime(ctx, name, reg, o)
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", name, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", name, err)
		}
		list = append(list, figures)
	}
	return list, nil
}

// serve starts a registry with the test images and, unless left out, the large one.
func serve(ctx context.Context, o options) (*registry.Server, error) {
	layout, err := node.ImageLayout()
	if err != nil {
		return nil, err
	}
	layouts := []string{layout}
	if !o.noPull {
		large, err := largeImage(ctx)
		if err != nil {
			return nil, fmt.Errorf("make the large image: %w", err)
		}
		layouts = append(layouts, large)
	}
	return registry.Start(registry.Config{Layouts: layouts})
}

// measureRuntime starts a runtime in a folder of its own and measures it.
func measureRuntime(ctx context.Context, name string, reg *registry.Server, o options) (f Figures, err error) {
	dir, err := os.MkdirTemp("", "b")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n, err := newNode(name, dir)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := reg.WriteHosts(n.Certs, registry.Upstreams()...); err != nil {
		return f, err
	}
	if err := n.Start(ctx); err != nil {
		return f, err
	}
	c, err := n.Dial()
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	f, err = (&meter{client: c, dir: dir, options: o}).all(ctx)
	f.Runtime = name
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, n.LogTail(2000))
	}
	return f, err
}

func newNode(name, dir string) (*node.Node, error) {
	if name == "containerd" {
		return node.NewContainerd(dir, "registry.k8s.io/"+images.Pause)
	}
	return node.NewBerth(dir, node.Options{LogLevel: "warn"})
}
