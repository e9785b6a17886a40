// Command berth-oci is berth's native runtime behind the command line of an OCI runtime, for podman, containerd, Docker and
// by hand:
//
//	berth-oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND …
//
// Commands, flags, exit codes, and the texts that callers look for are runc's. See README.md beside this file.
//
//go:debug updatemaxprocs=0
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/berth-runtime/berth/internal/exitcode"
)

func main() { os.Exit(execute(os.Args)) }

// maxHeap is where the garbage collector begins to work: never, in the life of most calls.
const maxHeap = 64 << 20

func execute(argv []string) int {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(maxHeap)
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	err := a.run(context.Background(), argv)
	if err == nil {
		return 0
	}
	code := 1
	if exit, ok := errors.AsType[*exitcode.Error](err); ok {
		code = exit.Code
		if exit.Err == nil {
			return code
		}
	}
	a.report(err)
	return code
}

// report tells of the error where it was asked for, and on standard error: callers read either.
func (a *app) report(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if a.log == nil {
		fmt.Fprintln(a.stderr, "berth-oci:", text)
		return
	}
	// The text is the message, which callers show to people.
	if logErr := a.log.Handler().Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelError, text, 0)); logErr != nil {
		fmt.Fprintln(a.stderr, "berth-oci: write log:", logErr)
	}
	if a.logFile != nil {
		fmt.Fprintln(a.stderr, text)
	}
}

// printTo writes a result. What can't be written is an error of the command.
func printTo(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}
