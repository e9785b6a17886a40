// Command berth runs containers by hand on a node that berthd serves. It speaks CRI on berthd's socket and nothing else;
// logs it reads from the files that CRI names, so it runs on the node itself.
//
//	berth run -d --name web -p 8080:80 docker.io/library/nginx
//	berth ps; berth logs -f web; berth exec -it web sh; berth rm -f web
//
// Results go to standard output, progress and errors to standard error. Each container gets a pod of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/exitcode"
)

// Exit codes of berth itself are those of Docker, so that a command's own can be told from them.
const (
	codeFailed    = 1
	codeRunFailed = 125 // of run and exec
	codeSignal    = 128 // and the signal's number: as a shell has it
)

func main() { os.Exit(execute()) }

func execute() int {
	// The first signal ends what berth waits for; foreground containers have their own handling (see run_foreground.go).
	ctx, stop := untilSignal(context.Background())
	defer stop()
	a := &app{in: os.Stdin, out: os.Stdout, progress: os.Stderr}
	err := a.command().ExecuteContext(ctx)
	if s, ok := errors.AsType[*stopped](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) {
		if err := beside(err); err != nil {
			fmt.Fprintln(os.Stderr, "berth:", err)
		}
		return codeSignal + int(s.signal)
	}
	exit, ok := errors.AsType[*exitcode.Error](err)
	if ok && exit.Err == nil {
		return exit.Code
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth:", err)
	}
	switch {
	case ok:
		return exit.Code
	case err != nil:
		return codeFailed
	}
	return 0
}

// exitWith returns what makes berth exit like a command did, or as run and exec do when they fail themselves.
func exitWith(code int, err error) error {
	if own, ok := errors.AsType[*exitcode.Error](err); ok {
		return &exitcode.Error{Code: own.Code, Err: err}
	}
	switch {
	case err != nil:
		return &exitcode.Error{Code: codeRunFailed, Err: err}
	case code != 0:
		return &exitcode.Error{Code: code}
	}
	return nil
}
