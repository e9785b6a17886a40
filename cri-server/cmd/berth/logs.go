package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/cmd/berth/internal/crilog"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func (a *app) logsCommand() *cobra.Command {
	var follow, times bool
	cmd := &cobra.Command{
		Use:   "logs [-f] [-t] CONTAINER",
		Short: "Show what a container wrote: its output on standard output, its errors on standard error",
		Args:  arguments(1, 1),
		RunE: a.action(func(cmd *cobra.Command, n *node, args []string) error {
			ctx := cmd.Context()
			c, err := n.container(ctx, args[0])
			if err != nil {
				return err
			}
			var ended <-chan struct{}
			if follow {
				ended = n.ended(ctx, c.GetId())
			}
			p := printer{out: a.out, errOut: os.Stderr, times: times}
			err = n.readLog(ctx, c.GetId(), ended, p.print)
			if errors.Is(err, context.Canceled) {
				return nil // Ctrl-C is how one stops to follow
			}
			return err
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the container ends")
	cmd.Flags().BoolVarP(&times, "timestamps", "t", false, "show when each line was written")
	return cmd
}

func (n *node) readLog(ctx context.Context, id string, ended <-chan struct{}, handle func(crilog.Line) error) error {
	status, err := n.status(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case status.GetLogPath() == "":
		return errdefs.FailedPrecondition("show the log of container %s: it keeps none", short(id))
	case status.GetState() == cri.ContainerState_CONTAINER_CREATED && ended == nil:
		return nil // nothing was written yet
	}
	// berthd sets the logs of berth run aside when they are large (package autoremove). Those of kubelets it leaves alone.
	older := status.GetLogPath() + ".1"
	if _, err := os.Stat(older); err == nil && ownLogs(status.GetLogPath(), status.GetLabels()) != "" {
		if err := crilog.Follow(ctx, older, nil, handle); err != nil {
			return err
		}
	}
	return crilog.Follow(ctx, status.GetLogPath(), ended, handle)
}

// printer writes a container's lines as the container wrote them.
type printer struct {
	out, errOut io.Writer
	times       bool
	inside      [2]bool // of a line whose end is still to come, by stream
}

func (p *printer) print(l crilog.Line) error {
	w, stream := p.out, 0
	if l.Stderr {
		w, stream = p.errOut, 1
	}
	text := make([]byte, 0, len(l.Content)+32)
	if p.times && !p.inside[stream] {
		text = append(l.Time.AppendFormat(text, time.RFC3339Nano), ' ')
	}
	text = append(text, l.Content...)
	p.inside[stream] = !l.Full
	if l.Full {
		text = append(text, '\n')
	}
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}
