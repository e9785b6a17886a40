// Command berth-keeper starts container processes and outlives the daemon that asks it to: see package keeper.
//
//	berth-keeper --socket /run/berth/keeper/socket --state /run/berth/keeper
//	berth-keeper --socket /run/berth/keeper/socket --upgrade
//
// With --upgrade it makes the keeper that runs become this program, in the same process, and ends; berthd does that by itself when it
// starts and finds that the keeper runs another file than its configuration says.
//
// With --ready, standard input is the write end of a pipe: one byte is written there once connections are accepted.
//
// It logs to standard error. SIGTERM and SIGINT end it and leave the processes running; a new keeper on the same state
// folder takes them over.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/keeper/fdstore"
)

const (
	gcPercent  = 25 // little garbage is made, and memory counts more than a few collections
	maxThreads = 2  // running Go code at once

	monitorSlack = 500 * time.Microsecond // how late the Go runtime's monitor may come: see ADR 11
)

func main() {
	socket := flag.String("socket", "/run/berth/keeper/socket", "`path` to listen on")
	state := flag.String("state", "/run/berth/keeper", "`folder` for the journal, on a tmpfs")
	ready := flag.Bool("ready", false, "write a byte to standard input, a pipe, when connections are accepted")
	upgrade := flag.Bool("upgrade", false, "make the keeper on the socket become this program")
	try := flag.Bool("try", false, "only say whether this program can take over from the keeper that asks")
	resume := flag.Int("resume", 0, "`number` of the file with the state of the keeper that this process was before")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "berth-keeper: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	var err error
	switch {
	case *try:
		err = keeper.Try(os.Stdin, os.Stdout)
	case *upgrade:
		err = upgradeOther(*socket)
	default:
		err = run(*socket, *state, *ready, *resume)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth-keeper:", err)
		os.Exit(1)
	}
}

func run(socket, state string, ready bool, resume int) error {
	debug.SetGCPercent(gcPercent)
	runtime.GOMAXPROCS(min(maxThreads, runtime.NumCPU()))
	// Children begin as copies of this process: not to be traced or read from inside a container.
	if err := sys.SetDumpable(false); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := sys.CalmMonitor(monitorSlack); err != nil {
		logger.Warn("this costs some processor time and nothing else", "error", err)
	}
	manager, kept, err := fdstore.FromEnvironment()
	if err != nil {
		return err
	}
	cfg := keeper.Config{
		Manager: manager, Kept: kept,
		Socket: socket, StateDir: state, Logger: logger,
		Args: []string{os.Args[0], "--socket", socket, "--state", state}, Resume: resume,
	}
	if ready {
		cfg.Ready = sayReady
	}
	return keeper.Run(ctx, cfg)
}

// upgradeOther hands this program's file to the keeper on the socket.
func upgradeOther(socket string) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := client.OpenProgram(path)
	if err != nil {
		return err
	}
	return errors.Join(client.Upgrade(context.Background(), socket, program), program.Close())
}

// sayReady tells whoever started this process, and puts /dev/null in the pipe's place.
func sayReady() error {
	if _, err := os.Stdin.Write([]byte{1}); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Dup3(int(null.Fd()), syscall.Stdin, 0), null.Close())
}
