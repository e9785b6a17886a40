package main

import (
	"github.com/spf13/cobra"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// any number of arguments.
const unlimited = -1

// arguments refuses a wrong number of arguments, and says how the command is used.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		problem := "an argument is missing"
		switch {
		case len(args) >= least && (most == unlimited || len(args) <= most):
			return nil
		case len(args) > least:
			problem = "there is an argument too many: " + args[most]
		}
		return errdefs.Invalid("%s: %s; usage: berth %s (see berth %s --help)", cmd.Name(), problem, cmd.Use, cmd.Name())
	}
}
