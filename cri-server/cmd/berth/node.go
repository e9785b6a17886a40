package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage is what berth takes in one answer: as much as the kubelet.
const maxMessage = 16 << 20

// node is a connection to berthd.
type node struct {
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
	conn    *grpc.ClientConn
}

// connect tries the socket first, so that its errors are plain.
func connect(ctx context.Context, socket string) (*node, error) {
	path, err := filepath.Abs(strings.TrimPrefix(socket, "unix://"))
	if err != nil {
		return nil, fmt.Errorf("connect to berthd: %w", err)
	}
	probe, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to berthd: %w; start berthd, or name its socket with --socket", err)
	}
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("connect to berthd: %w", err)
	}
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("connect to berthd: %w", err)
	}
	return &node{runtime: cri.NewRuntimeServiceClient(conn), images: cri.NewImageServiceClient(conn), conn: conn}, nil
}

// close ends the connection; nothing is lost with it.
func (n *node) close() { _ = n.conn.Close() }

// stage puts in front of an RPC's error what was being done, and drops gRPC's own words from it.
func stage(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	if s.Code() == codes.Canceled {
		return fmt.Errorf("%s: %w", what, context.Canceled)
	}
	return &rpcError{text: what + ": " + s.Message(), err: err}
}

// rpcError keeps the status for those who ask, and shows only words for people.
type rpcError struct {
	text string
	err  error
}

func (e *rpcError) Error() string { return e.text }
func (e *rpcError) Unwrap() error { return e.err }

func isNotFound(err error) bool {
	s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	return ok && s.GRPCStatus().Code() == codes.NotFound
}
