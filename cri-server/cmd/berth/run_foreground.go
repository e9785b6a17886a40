package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/stream/client"
)

// patience is how many seconds a container has to end after the stop signal, as with Docker.
const patience = 10

// foreground shows a container's output until it has ended, and returns its exit code. The first Ctrl-C stops it as
// berth stop does, the second one kills it; a terminal that hangs up and an output that nobody reads any more stop it too.
func (a *app) foreground(ctx context.Context, n *node, o *runOptions, c *made) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // a write then fails, and is noticed by the outlet
	if ctx.Err() != nil {          // one came just before
		signals <- syscall.SIGTERM
	}
	ctx = context.WithoutCancel(ctx) // signals stop the container, and then all this ends by itself
	end, cancel := context.WithCancel(ctx)
	defer cancel()
	go n.stopOnSignals(end, signals, c.id)

	left, err := a.show(ctx, n, o, c, signals)
	if err != nil || left {
		return 0, err
	}
	status, err := n.status(ctx, c.id)
	if err != nil {
		return 0, err
	}
	if status.GetReason() == reasonOOM {
		warn(errors.New("killed: memory limit reached"))
	}
	return int(status.GetExitCode()), n.tidy(ctx, o.remove, c)
}

// tidy gives back what an ended container does not need: its addresses, or with --rm everything.
func (n *node) tidy(ctx context.Context, remove bool, c *made) error {
	if remove {
		return n.discard(ctx, c.podID, c.logs)
	}
	_, err := n.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: c.podID})
	return stage(err, "stop the pod")
}

// show connects the streams that were kept from before the start, until the container has ended; left says that the user
// detached before. Without a terminal, a connection that breaks (berthd is restarted) is made good from the log.
func (a *app) show(ctx context.Context, n *node, o *runOptions, c *made, signals chan<- os.Signal) (left bool, err error) {
	broken := func() {
		select {
		case signals <- syscall.SIGPIPE:
		default: // others are on their way
		}
	}
	ended := n.ended(ctx, c.id)
	out, errOut := &outlet{w: a.out, broken: broken}, &outlet{w: os.Stderr, broken: broken}
	if o.tty {
		_, err = a.raw(ctx, c.stream, o.interactive, out)
	} else {
		s := client.Streams{Stdout: out, Stderr: errOut}
		if o.interactive {
			s.Stdin = a.in
		}
		_, err = client.Run(ctx, c.stream, s)
	}
	switch over := isOver(ended); {
	case errors.Is(err, errDetached):
		return true, nil
	case err == nil && over:
		return false, nil
	case o.tty && err != nil && !over:
		return false, err
	case o.tty && err == nil: // its terminal is closed
		<-ended
		return false, nil
	}
	p := printer{out: &skipper{out, out.n}, errOut: &skipper{errOut, errOut.n}}
	if err := n.readLog(ctx, c.id, ended, p.print); err != nil {
		return false, err
	}
	<-ended
	return false, nil
}

func isOver(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return true
	case <-time.After(time.Second): // the news may be a moment behind the end of the streams
		return false
	}
}

// outlet passes output on and counts it. When it can't be passed on any more (a closed pipe, a terminal that is gone) broken
// is called once, and the rest is thrown away.
type outlet struct {
	w      io.Writer
	n      int64
	broken func()
	closed bool
}

func (o *outlet) Write(p []byte) (int, error) {
	o.n += int64(len(p))
	if o.closed {
		return len(p), nil
	}
	if _, err := o.w.Write(p); err != nil {
		o.closed = true
		o.broken()
	}
	return len(p), nil
}

// skipper leaves out the first bytes of what goes to w.
type skipper struct {
	w    io.Writer
	left int64
}

func (s *skipper) Write(p []byte) (int, error) {
	k := min(s.left, int64(len(p)))
	s.left -= k
	n, err := s.w.Write(p[k:])
	return int(k) + n, err
}

// stopOnSignals stops the container at the first signal and kills it at the second.
func (n *node) stopOnSignals(ctx context.Context, signals <-chan os.Signal, id string) {
	timeout := int64(patience)
	for {
		select {
		case <-signals:
			go func(timeout int64) {
				_, err := n.runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id, Timeout: timeout})
				if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
					warn(stage(err, "stop the container"))
				}
			}(timeout)
			timeout = 0
		case <-ctx.Done():
			return
		}
	}
}
