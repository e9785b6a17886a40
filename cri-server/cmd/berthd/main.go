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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "berthd:", err)
		os.Exit(1)
	}
}
