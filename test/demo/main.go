// Command demo shows berth at work, on any machine, as root: it starts a registry and berthd in network and mount namespaces
// of their own, runs a pod with the berth command, reaches it over HTTP, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/images"
	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

func main() {
	os.Exit(testutil.Isolate(func() int {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		err := demo(ctx)
		switch {
		case ctx.Err() != nil:
			fmt.Println("\ninterrupted; everything has been cleaned up")
			return 130
		case err != nil:
			fmt.Fprintln(os.Stderr, "demo:", err)
			return 1
		}
		return 0
	}))
}

// stage is what the demo runs on.
type stage struct {
	*node.Node
	client *node.Client
	berth  string // the client program
}

func demo(ctx context.Context) (err error) {
	repo, err := node.Repo()
	if err != nil {
		return err
	}
	berth, err := node.Binary("berth")
	if err != nil {
		return err
	}
	reg, err := registry.Start(registry.Config{Layouts: []string{filepath.Join(repo, "build", "demo-images")}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reg.Close()) }()
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n, err := node.NewBerth(dir, node.Options{LogLevel: "warn"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := reg.WriteHosts(n.Certs, "docker.io"); err != nil {
		return err
	}
	say("a registry listens on %s, in a network namespace of its own", reg.Addr())
	if err := n.Start(ctx); err != nil {
		return err
	}
	c, err := n.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	say("berthd runs as process %d, without a network configuration: it makes bridge berth0 itself", n.PID())
	s := &stage{Node: n, client: c, berth: berth}
	return errors.Join(s.play(ctx), s.clear())
}

// play runs the pod and shows it.
func (s *stage) play(ctx context.Context) error {
	if err := s.run(ctx, "run", "-d", "--name", "hello", "-p", "8080:80", images.Hello); err != nil {
		return err
	}
	ip, err := s.address(ctx)
	if err != nil {
		return err
	}
	say("the pod's own address, over the bridge")
	if err := get(ctx, "http://"+ip+"/"); err != nil {
		return err
	}
	say("the published port, from this machine")
	if err := get(ctx, "http://127.0.0.1:8080/published"); err != nil {
		return err
	}
	for _, args := range [][]string{{"ps"}, {"images"}, {"logs", "hello"}} {
		if err := s.run(ctx, args...); err != nil {
			return err
		}
	}
	say("berthd is killed with SIGKILL; the pod does not notice")
	if err := s.Kill(); err != nil {
		return err
	}
	if err := get(ctx, "http://127.0.0.1:8080/while-berthd-is-dead"); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	say("berthd is back and knows its pod")
	if err := s.run(ctx, "ps"); err != nil {
		return err
	}
	return s.run(ctx, "rm", "-f", "hello")
}

// clear removes what is left when the demo was interrupted, and checks that nothing of the pods stays.
func (s *stage) clear() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if s.PID() == 0 {
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	if err := s.client.RemoveAll(ctx); err != nil {
		return fmt.Errorf("remove the pods: %w", err)
	}
	left, err := s.Leftovers()
	if err == nil && len(left) == 0 {
		say("nothing is left of the pod: no process, mount, link, rule, cgroup or file")
	} else if err == nil {
		err = fmt.Errorf("left behind: %q", left)
	}
	return err
}

// run shows and runs one berth command.
func (s *stage) run(ctx context.Context, args ...string) error {
	fmt.Printf("\n$ berth %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, s.berth, args...)
	cmd.Env = append(os.Environ(), "BERTH_SOCKET="+s.Socket)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("berth %s: %w\n%s", args[0], err, s.LogTail(2000))
	}
	return nil
}

// address returns the address of the only pod.
func (s *stage) address(ctx context.Context) (string, error) {
	r, err := s.client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return "", err
	}
	if len(r.GetItems()) != 1 {
		return "", fmt.Errorf("%d pods run, want one", len(r.GetItems()))
	}
	status, err := s.client.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: r.GetItems()[0].GetId()})
	if err != nil {
		return "", err
	}
	return status.GetStatus().GetNetwork().GetIp(), nil
}

// get shows a page; the server takes a moment to listen.
func get(ctx context.Context, url string) error {
	fmt.Printf("\n$ curl %s\n", url)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return node.Eventually(ctx, 10*time.Second, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(os.Stdout, resp.Body)
		return err
	})
}

func say(format string, args ...any) { fmt.Printf("\n# "+format+"\n", args...) }
