package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/version"
)

const defaultSocket = "/run/berth/berth.sock"

// app is one call of berth: where it is connected to.
type app struct {
	in       *os.File
	out      io.Writer // results
	progress *os.File  // progress, when it is a terminal, and what commands say on stderr
	socket   string
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "berth",
		Short:         "Run containers on this node",
		Version:       version.String(),
		SilenceErrors: true, // main prints them once
		SilenceUsage:  true,
	}
	socket := os.Getenv("BERTH_SOCKET")
	if socket == "" {
		socket = defaultSocket
	}
	root.PersistentFlags().StringVar(&a.socket, "socket", socket, "`path` of berthd's socket; also $BERTH_SOCKET")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return errdefs.Invalid("%s: %w; see %s --help", cmd.Name(), err, cmd.CommandPath())
	})
	root.AddCommand(
		a.runCommand(), a.execCommand(), a.attachCommand(), a.psCommand(), a.logsCommand(), a.stopCommand(), a.rmCommand(),
		a.inspectCommand(), a.pullCommand(), a.imagesCommand(), a.rmiCommand(), a.infoCommand(), a.netCommand(),
	)
	return root
}

// action makes a command's function out of one that wants a connection.
func (a *app) action(f func(cmd *cobra.Command, n *node, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		n, err := connect(cmd.Context(), a.socket)
		if err != nil {
			return err
		}
		defer n.close()
		return f(cmd, n, args)
	}
}
