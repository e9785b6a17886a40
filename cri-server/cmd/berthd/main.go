// Command berthd is berth's CRI server: the kubelet and crictl speak to its socket.
//
//	berthd [--config FILE] [--root DIR] [--state DIR] [--listen SOCKET] [--log-level LEVEL]
//	berthd config default|check
//
// It logs to standard error. SIGTERM and SIGINT end it and leave all pods running; the next one takes them over.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
)

// monitorSlack is how late the Go runtime's monitor may come: see ADR 11.
const monitorSlack = 500 * time.Microsecond

func main() {
	if err := sys.CalmMonitor(monitorSlack); err != nil {
		fmt.Fprintln(os.Stderr, "berthd: this costs some processor time and nothing else:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "berthd:", err)
		os.Exit(1)
	}
}
