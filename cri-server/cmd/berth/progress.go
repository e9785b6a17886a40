package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRI has no progress of a pull. While berthd pulls an image, its verbose ImageStatus of the same name carries this
// (package rpc, PullProgress).
const progressKey = "pull"

type pullProgress struct {
	Stage string `json:"stage"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// progress is one line on a terminal, written anew until stop.
type progress struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startProgress shows how far a pull is, if standard error is a terminal.
func (a *app) startProgress(ctx context.Context, n *node, image string) *progress {
	ctx, cancel := context.WithCancel(ctx)
	p := &progress{cancel: cancel, done: make(chan struct{})}
	if !isTerminal(a.progress) {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		p.run(ctx, n, image, a.progress)
	}()
	return p
}

func (p *progress) stop() {
	p.cancel()
	<-p.done
}

const clearLine = "\r\x1b[K"

func (p *progress) run(ctx context.Context, n *node, image string, w *os.File) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-ctx.Done():
			if shown {
				fmt.Fprint(w, clearLine)
			}
			return
		case <-tick.C:
		}
		resp, err := n.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}, Verbose: true})
		if err != nil {
			continue // the pull itself will say
		}
		var now pullProgress
		if json.Unmarshal([]byte(resp.GetInfo()[progressKey]), &now) != nil {
			continue
		}
		fmt.Fprint(w, clearLine, progressLine(image, now, width(w)))
		shown = true
	}
}

// width is a terminal's, in characters; 0 if it does not know.
func width(f *os.File) int {
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// progressLine fits into a line of that many characters, if that is not 0: the front of a long name makes room.
func progressLine(image string, p pullProgress, width int) string {
	what := p.Stage
	if p.Total > 0 {
		what = fmt.Sprintf("%s of %s (%d%%)", size(p.Done), size(p.Total), p.Done*100/p.Total)
	}
	line := func(name string) string { return "pulling " + name + ": " + what }
	text, name := []rune(line(image)), []rune(image)
	over := len(text) - (width - 1) // the last column would move the cursor to the next line
	if width == 0 || over <= 0 {
		return string(text)
	}
	if over+1 < len(name) {
		return line("…" + string(name[over+1:]))
	}
	short := []rune(line("…"))
	return string(short[:max(0, min(len(short), width-1))])
}

// size is a number of bytes for people, in powers of ten as Docker shows images.
func size(n int64) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if f < 999.5 {
			break
		}
		f, unit = f/1000, next
	}
	return strconv.FormatFloat(f, 'g', 3, 64) + unit
}
