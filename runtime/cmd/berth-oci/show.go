package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func wrapExec(err error) error { return fmt.Errorf("exec failed: %w", err) }

// readFile reads at most max bytes of a file, or of standard input for "-".
func readFile(path string, max int64) (_ []byte, err error) {
	f := os.Stdin
	if path != "-" {
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		err = errdefs.Invalid("%s is larger than %d bytes", path, max)
	}
	return data, err
}

func stateCommand() *command {
	c := newCommand("state", "CONTAINER", "print the state of a container", 1, 1)
	c.run = func(_ context.Context, a *app, args []string) error {
		s, err := a.runtime.State(args[0])
		if err != nil {
			return err
		}
		return a.printJSON(s)
	}
	return c
}

const (
	formatTable = "table"
	formatJSON  = "json"
)

func checkFormat(format string) error {
	if format != formatTable && format != formatJSON {
		return errdefs.Invalid("invalid format option %q: neither table nor json", format)
	}
	return nil
}

func listCommand() *command {
	var format string
	var quiet bool
	c := newCommand("list", "", "list the containers below --root", 0, 0)
	c.flags.StringVarP(&format, "format", "f", formatTable, "table or json")
	c.flags.BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	c.run = func(_ context.Context, a *app, _ []string) error {
		if err := checkFormat(format); err != nil {
			return err
		}
		list, err := a.runtime.List()
		if err != nil {
			a.log.Warn("some containers can't be listed", "error", err)
		}
		if format == formatJSON && !quiet {
			return a.printJSON(list)
		}
		w := tabwriter.NewWriter(a.stdout, 12, 1, 3, ' ', 0)
		if !quiet {
			fmt.Fprintln(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
		}
		for _, s := range list {
			if quiet {
				fmt.Fprintln(w, s.ID)
				continue
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.PID, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
		}
		return w.Flush()
	}
	return c
}

func psCommand() *command {
	var format string
	c := newCommand("ps", "CONTAINER [PS OPTION…]", "show the processes of a container", 1, -1)
	c.flags.SetInterspersed(false)
	c.flags.StringVarP(&format, "format", "f", formatTable, "table or json")
	c.run = func(ctx context.Context, a *app, args []string) error {
		if err := checkFormat(format); err != nil {
			return err
		}
		pids, err := a.runtime.PIDs(args[0])
		if err != nil {
			return err
		}
		if format == formatJSON {
			return a.printJSON(append([]int{}, pids...))
		}
		options := args[1:]
		if len(options) == 0 {
			options = []string{"-ef"}
		}
		out, err := exec.CommandContext(ctx, "ps", options...).Output()
		if err != nil {
			return psError(err)
		}
		text, err := processLines(string(out), pids)
		if err != nil {
			return err
		}
		return printTo(a.stdout, "%s", text)
	}
	return c
}

// psError repeats what ps says of its options.
func psError(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("run ps of the host: %w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return fmt.Errorf("run ps of the host: %w", err)
}

// processLines returns the head of ps's output and the lines about the processes.
func processLines(out string, pids []int) (string, error) {
	head, rest, _ := strings.Cut(out, "\n")
	column := slices.Index(strings.Fields(head), "PID")
	if column < 0 {
		return "", errdefs.Invalid("there is no PID column in the output of ps")
	}
	var text strings.Builder
	text.WriteString(head + "\n")
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			text.WriteString(line)
		}
	}
	return text.String(), nil
}
