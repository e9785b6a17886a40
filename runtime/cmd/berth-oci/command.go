package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// command is one command with its flags. Only the one that is asked for is made: the program's start is a part of every
// container's.
type command struct {
	name, args, short string
	min, max          int  // arguments; max < 0: any number
	forks             bool // makes processes in containers
	flags             *pflag.FlagSet
	run               func(ctx context.Context, a *app, args []string) error
	showHelp          bool
}

func newCommand(name, args, short string, min, max int) *command {
	c := &command{name: name, args: args, short: short, min: min, max: max, flags: pflag.NewFlagSet(name, pflag.ContinueOnError)}
	c.flags.Usage = func() {}
	c.flags.BoolVarP(&c.showHelp, "help", "h", false, "print this")
	return c
}

// names lists the commands.
func names() []string {
	return []string{
		"create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "pause", "resume", "update", "events",
		"spec", "features",
	}
}

// find returns a command, nil for an unknown name.
func find(name string) *command {
	makers := map[string]func() *command{
		"create": createCommand, "start": startCommand, "state": stateCommand, "kill": killCommand, "delete": deleteCommand,
		"run": runCommand, "exec": execCommand, "list": listCommand, "ps": psCommand, "pause": pauseCommand,
		"resume": resumeCommand, "update": updateCommand, "events": eventsCommand, "spec": specCommand,
		"features": featuresCommand,
	}
	if f := makers[name]; f != nil {
		return f()
	}
	return nil
}

func (c *command) parse(args []string) error {
	if err := c.flags.Parse(args); err != nil {
		return errdefs.Invalid("%s: %w", c.name, err)
	}
	n := c.flags.NArg()
	if !c.showHelp && (n < c.min || c.max >= 0 && n > c.max) {
		return errdefs.Invalid("%s: %d arguments, wants %s", c.name, n, c.args)
	}
	return nil
}
