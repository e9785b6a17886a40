package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/exitcode"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/oci"
)

// createFlags are what create and run have in common.
func createFlags(f *pflag.FlagSet, o *oci.CreateOptions, preserve *int) {
	f.StringVarP(&o.Bundle, "bundle", "b", ".", "folder with config.json")
	f.StringVar(&o.ConsoleSocket, "console-socket", "", "UNIX socket that the terminal's master is sent to")
	f.StringVar(&o.PidfdSocket, "pidfd-socket", "", "UNIX socket that the process's pidfd is sent to")
	f.StringVar(&o.PidFile, "pid-file", "", "file to write the process's number to")
	f.BoolVar(&o.NoPivot, "no-pivot", false, "cover the host's root instead of replacing it, on a ramdisk")
	f.BoolVar(&o.NoNewKeyring, "no-new-keyring", false, "keep the caller's session keyring")
	f.IntVar(preserve, "preserve-fds", 0, "number of descriptors to pass on, besides stdio and $LISTEN_FDS")
}

// inherit fills in what this process was given to pass on.
func (a *app) inherit(o *oci.CreateOptions, preserve int) (err error) {
	o.Stdio = [3]*os.File{a.stdin, a.stdout, a.stderr}
	listen := 0
	if n, err := strconv.Atoi(os.Getenv("LISTEN_FDS")); err == nil && n > 0 && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		listen = n
		o.Env = []string{fmt.Sprintf("LISTEN_FDS=%d", n), "LISTEN_PID=1"}
	}
	o.Preserve, err = preserved(listen, preserve)
	return err
}

const maxPreserved = 1024

func preserved(listen, more int) ([]*os.File, error) {
	if more < 0 || listen+more > maxPreserved {
		return nil, errdefs.Invalid("--preserve-fds %d: not between 0 and %d", more, maxPreserved)
	}
	return oci.OpenPreserved(listen + more)
}

func createCommand() *command {
	var o oci.CreateOptions
	var preserve int
	c := newCommand("create", "CONTAINER", "make a container whose process waits for start", 1, 1)
	c.forks = true
	createFlags(c.flags, &o, &preserve)
	c.run = func(ctx context.Context, a *app, args []string) error {
		o.ID = args[0]
		if err := a.inherit(&o, preserve); err != nil {
			return err
		}
		return a.runtime.Create(ctx, o)
	}
	return c
}

func runCommand() *command {
	var o oci.RunOptions
	var preserve int
	var noSubreaper bool
	c := newCommand("run", "CONTAINER", "create and start a container, and wait for its end", 1, 1)
	c.forks = true
	createFlags(c.flags, &o.CreateOptions, &preserve)
	c.flags.BoolVarP(&o.Detach, "detach", "d", false, "do not wait")
	c.flags.BoolVar(&o.Keep, "keep", false, "do not delete the container after its end")
	c.flags.BoolVar(&noSubreaper, "no-subreaper", false, "do not adopt processes that the container's leave behind")
	c.run = func(ctx context.Context, a *app, args []string) error {
		o.ID = args[0]
		if err := a.inherit(&o.CreateOptions, preserve); err != nil {
			return err
		}
		if !o.Detach && !noSubreaper {
			if err := sys.BecomeSubreaper(); err != nil {
				return err
			}
		}
		code, err := a.runtime.Run(ctx, o)
		if err == nil && code != 0 {
			err = &exitcode.Error{Code: code}
		}
		return err
	}
	return c
}

func startCommand() *command {
	c := newCommand("start", "CONTAINER", "let a created container's process execute", 1, 1)
	c.forks = true // startContainer hooks
	c.run = func(ctx context.Context, a *app, args []string) error { return a.runtime.Start(ctx, args[0]) }
	return c
}

func killCommand() *command {
	var all bool
	c := newCommand("kill", "CONTAINER [SIGNAL]", "send a signal, SIGTERM by default, to a container's process", 1, 2)
	c.flags.BoolVarP(&all, "all", "a", false, "to all processes of the container")
	c.run = func(ctx context.Context, a *app, args []string) error {
		sig := syscall.SIGTERM
		if len(args) > 1 {
			var err error
			if sig, err = parseSignal(args[1]); err != nil {
				return err
			}
		}
		return a.runtime.Kill(ctx, args[0], sig, all)
	}
	return c
}

const maxSignal = 64

// parseSignal reads a number, or a name with or without SIG.
func parseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > maxSignal {
			return 0, errdefs.Invalid("unknown signal %q", s)
		}
		return syscall.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := sys.SignalNumber(name); sig != 0 {
		return sig, nil
	}
	return 0, errdefs.Invalid("unknown signal %q", s)
}

func deleteCommand() *command {
	var force bool
	c := newCommand("delete", "CONTAINER", "remove what is left of a container", 1, 1)
	c.flags.BoolVarP(&force, "force", "f", false, "kill it first if it runs; be content if there is none")
	c.run = func(ctx context.Context, a *app, args []string) error { return a.runtime.Delete(ctx, args[0], force) }
	return c
}

func pauseCommand() *command {
	c := newCommand("pause", "CONTAINER", "freeze all processes of a container", 1, 1)
	c.run = func(ctx context.Context, a *app, args []string) error { return a.runtime.Pause(ctx, args[0]) }
	return c
}

func resumeCommand() *command {
	c := newCommand("resume", "CONTAINER", "let a paused container run on", 1, 1)
	c.run = func(ctx context.Context, a *app, args []string) error { return a.runtime.Resume(ctx, args[0]) }
	return c
}
