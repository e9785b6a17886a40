package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/stream/client"
	"github.com/berth-runtime/berth/internal/cleanup"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// errDetached ends a connection that the user left with Ctrl-P Ctrl-Q.
var errDetached = errors.New("detached")

// terminal connects this terminal to that of a running container until the container ends or the user leaves.
func (a *app) terminal(ctx context.Context, n *node, id string, stdin bool) (left bool, err error) {
	resp, err := n.runtime.Attach(ctx, &cri.AttachRequest{ContainerId: id, Tty: true, Stdin: stdin, Stdout: true})
	if err != nil {
		return false, stage(err, "attach to container %s", short(id))
	}
	_, err = a.raw(ctx, resp.GetUrl(), stdin, a.out)
	if errors.Is(err, errDetached) {
		return true, nil
	}
	return false, err
}

// raw runs a stream with a terminal on this one: keys go through as they are, sizes follow.
func (a *app) raw(ctx context.Context, url string, stdin bool, out io.Writer) (code int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cu := cleanup.Make(&err)
	defer cu.Clean() // never released: the terminal is put back in any case
	s := client.Streams{Stdout: out, TTY: true}
	if isTerminal(a.in) {
		sizes, stop := a.sizes(ctx)
		s.Resize = sizes
		cu.Add(stop)
	}
	if stdin {
		s.Stdin = a.in
		if isTerminal(a.in) {
			before, err := term.MakeRaw(int(a.in.Fd()))
			if err != nil {
				return 0, err
			}
			cu.Add(func() error { return term.Restore(int(a.in.Fd()), before) })
			s.Stdin = &detacher{r: a.in, left: func() { cancel(errDetached) }}
		}
	}
	return client.Run(ctx, url, s)
}

// sizes tells the terminal's size now and whenever it changes. The first one is told twice, once a little off: a program
// redraws when the size changes, and a prompt that was written before the connection shows up so.
func (a *app) sizes(ctx context.Context) (<-chan client.Size, func() error) {
	out := make(chan client.Size)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		defer close(out)
		extra := uint16(1)
		for {
			width, height, err := term.GetSize(int(a.in.Fd()))
			if err != nil || width <= 0 || height <= 0 { // a terminal that does not know, such as script(1)'s
				return
			}
			select {
			case out <- client.Size{Width: uint16(width) + extra, Height: uint16(height)}:
			case <-ctx.Done():
				return
			}
			if extra > 0 {
				extra = 0
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, func() error { signal.Stop(changed); return nil }
}

// The keys that leave a terminal without ending what runs in it, as with Docker.
const keyP, keyQ = 0x10, 0x11

// detacher passes keys on, and calls left when Ctrl-P Ctrl-Q goes through, which it keeps back.
type detacher struct {
	r    io.Reader
	left func()
	held bool // a Ctrl-P that may begin the pair
}

func (d *detacher) Read(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, io.ErrShortBuffer
	}
	n, err := d.r.Read(p[:len(p)/2]) // the rest is room for a key that was held back
	return d.filter(p, n), err
}

// filter moves what may go through to the front of p, of which the first n bytes are new, and returns how much it is.
func (d *detacher) filter(p []byte, n int) int {
	keys := append([]byte(nil), p[:n]...)
	out := p[:0]
	for _, k := range keys {
		switch {
		case d.held && k == keyQ:
			d.left()
			return len(out)
		case d.held:
			out = append(out, keyP)
			d.held = false
		}
		if k == keyP {
			d.held = true
			continue
		}
		out = append(out, k)
	}
	return len(out)
}
