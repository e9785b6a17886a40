package rpc

import (
	"context"
	"log/slog"
	"path"
	"runtime/debug"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// interceptor stands around every RPC: it holds requests off until recovery has ended, turns panics and errors into
// gRPC's, and logs.
type interceptor struct {
	ready  atomic.Bool
	logger *slog.Logger
}

func (i *interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	defer i.finish(ctx, info.FullMethod, req, time.Now(), &err)
	if err := i.gate(); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func (i *interceptor) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer i.finish(ss.Context(), info.FullMethod, nil, time.Now(), &err)
	if err := i.gate(); err != nil {
		return err
	}
	return handle(srv, ss)
}

// gate answers Unavailable, which clients retry, while pods are still being found again: a pod that is not listed would
// be taken for gone and started once more.
func (i *interceptor) gate() error {
	if i.ready.Load() {
		return nil
	}
	return errdefs.Unavailable("berthd is starting: pods are being recovered; try again in a moment")
}

// finish runs deferred, as only that sees a panic.
func (i *interceptor) finish(ctx context.Context, method string, req any, begin time.Time, err *error) {
	if r := recover(); r != nil {
		i.logger.ErrorContext(ctx, "panic in an RPC", "rpc", path.Base(method), "panic", r, "stack", string(debug.Stack()))
		*err = errdefs.Bug("%s: panic: %v", path.Base(method), r)
	}
	*err = toStatus(*err)
	attrs := append(idsOf(req), slog.String("rpc", path.Base(method)), slog.Duration("dur", time.Since(begin)))
	if *err == nil {
		i.logger.LogAttrs(ctx, slog.LevelDebug, "RPC done", attrs...)
		return
	}
	s := status.Convert(*err)
	attrs = append(attrs, slog.String("code", s.Code().String()), slog.String("err", s.Message()))
	i.logger.LogAttrs(ctx, levelOf(s.Code()), "RPC refused or broken", attrs...)
}

// levelOf keeps the log quiet about answers that clients ask for on purpose: whether something is still there, or
// whether an RPC exists.
func levelOf(code codes.Code) slog.Level {
	switch code {
	case codes.NotFound, codes.Unimplemented, codes.Canceled, codes.Unavailable:
		return slog.LevelDebug
	case codes.Unknown, codes.Internal, codes.DataLoss:
		return slog.LevelError
	default:
		return slog.LevelWarn
	}
}

// idsOf finds what a request is about. Nothing else of a request is logged: it may hold passwords.
func idsOf(req any) []slog.Attr {
	var attrs []slog.Attr
	if r, ok := req.(interface{ GetPodSandboxId() string }); ok && r.GetPodSandboxId() != "" {
		attrs = append(attrs, slog.String("pod", shorten(r.GetPodSandboxId())))
	}
	if r, ok := req.(interface{ GetContainerId() string }); ok && r.GetContainerId() != "" {
		attrs = append(attrs, slog.String("container", shorten(r.GetContainerId())))
	}
	if r, ok := req.(interface{ GetImage() *runtimeapi.ImageSpec }); ok {
		attrs = append(attrs, slog.String("image", shorten(r.GetImage().GetImage())))
	}
	return attrs
}

// shorten keeps what a client made up from filling the log.
func shorten(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}
