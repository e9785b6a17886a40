package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/stream/client"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func (a *app) attachCommand() *cobra.Command {
	var interactive, tty bool
	cmd := &cobra.Command{
		Use:   "attach [-it] CONTAINER",
		Short: "Connect to a running container (leave a terminal with Ctrl-P Ctrl-Q)",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.attach(cmd.Context(), args[0], interactive, tty)
		},
	}
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "connect standard input")
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "the container has a terminal")
	return cmd
}

func (a *app) attach(ctx context.Context, ref string, interactive, tty bool) error {
	if tty && interactive && !isTerminal(a.in) {
		return errdefs.Invalid("attach -t: standard input is no terminal; leave -t out")
	}
	n, err := connect(ctx, a.socket)
	if err != nil {
		return err
	}
	defer n.close()
	c, err := n.container(ctx, ref)
	if err != nil {
		return err
	}
	if interactive {
		if err := n.checkStdin(ctx, c.GetId(), ref); err != nil {
			return err
		}
	}
	if tty {
		_, err := a.terminal(ctx, n, c.GetId(), interactive)
		return err
	}
	resp, err := n.runtime.Attach(ctx, &cri.AttachRequest{ContainerId: c.GetId(), Stdin: interactive, Stdout: true, Stderr: true})
	if err != nil {
		return stage(err, "attach to container %s", ref)
	}
	s := client.Streams{Stdout: a.out, Stderr: os.Stderr}
	if interactive {
		s.Stdin = a.in
	}
	_, err = client.Run(ctx, resp.GetUrl(), s)
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C leaves; the container goes on
	}
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", ref, err)
	}
	return nil
}

// checkStdin refuses input for a container that takes none: it would be dropped without a word, as CRI wants it. A server
// that does not tell how the container was made is believed.
func (n *node) checkStdin(ctx context.Context, id, ref string) error {
	resp, err := n.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		return stage(err, "ask how container %s was made", ref)
	}
	var info struct {
		Config *struct{ Stdin bool }
	}
	if text := resp.GetInfo()["info"]; text != "" {
		if err := json.Unmarshal([]byte(text), &info); err != nil {
			return fmt.Errorf("read how container %s was made: %w", ref, err)
		}
	}
	if info.Config == nil || info.Config.Stdin {
		return nil
	}
	return errdefs.FailedPrecondition("attach -i to container %s: it was made without standard input (run -i); leave -i out", ref)
}
