package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/stream/client"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func (a *app) execCommand() *cobra.Command {
	var interactive, tty bool
	cmd := &cobra.Command{
		Use:   "exec [-it] CONTAINER COMMAND [ARG...]",
		Short: "Run a command in a running container",
		Long: "Run a command in a running container.\n\nA command without a terminal (-t) goes on when berth is interrupted: " +
			"CRI has no way to end it. One with a terminal gets Ctrl-C itself; Ctrl-P Ctrl-Q leaves it, and its terminal hangs up.",
		Args: arguments(2, unlimited),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exitWith(a.exec(cmd.Context(), args[0], args[1:], interactive, tty))
		},
	}
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "connect standard input")
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "give the command a terminal")
	cmd.Flags().SetInterspersed(false) // what follows the container is the command's
	return cmd
}

func (a *app) exec(ctx context.Context, ref string, command []string, interactive, tty bool) (int, error) {
	if tty && interactive && !isTerminal(a.in) {
		return 0, errdefs.Invalid("exec -t: standard input is no terminal; leave -t out")
	}
	n, err := connect(ctx, a.socket)
	if err != nil {
		return 0, err
	}
	defer n.close()
	c, err := n.container(ctx, ref)
	if err != nil {
		return 0, err
	}
	resp, err := n.runtime.Exec(ctx, &cri.ExecRequest{
		ContainerId: c.GetId(), Cmd: command, Tty: tty, Stdin: interactive, Stdout: true, Stderr: !tty,
	})
	if err != nil {
		return 0, stage(err, "run %s in container %s", command[0], ref)
	}
	if tty {
		code, err := a.raw(ctx, resp.GetUrl(), interactive, a.out)
		if errors.Is(err, errDetached) {
			return 0, nil
		}
		return code, err
	}
	s := client.Streams{Stdout: a.out, Stderr: os.Stderr}
	if interactive {
		s.Stdin = a.in
	}
	return client.Run(ctx, resp.GetUrl(), s)
}
