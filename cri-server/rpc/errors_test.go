package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestKindsBecomeCodes(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want codes.Code
	}{
		{"nil", nil, codes.OK},
		{"not found", errdefs.NotFound("x"), codes.NotFound},
		{"exists", errdefs.Exists("x"), codes.AlreadyExists},
		{"invalid", errdefs.Invalid("x"), codes.InvalidArgument},
		{"precondition", errdefs.FailedPrecondition("x"), codes.FailedPrecondition},
		{"unavailable", errdefs.Unavailable("x"), codes.Unavailable},
		{"not supported", errdefs.NotSupported("x"), codes.Unimplemented},
		{"unauthenticated", errdefs.New(errdefs.ErrUnauthenticated, "x"), codes.Unauthenticated},
		{"permission", errdefs.New(errdefs.ErrPermission, "x"), codes.PermissionDenied},
		{"exhausted", errdefs.New(errdefs.ErrExhausted, "x"), codes.ResourceExhausted},
		{"data loss", errdefs.New(errdefs.ErrDataLoss, "x"), codes.DataLoss},
		{"bug", errdefs.Bug("x"), codes.Internal},
		{"wrapped", fmt.Errorf("stage: %w", errdefs.NotFound("x")), codes.NotFound},
		{"deadline", fmt.Errorf("stage: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{"deadline of something unavailable", errdefs.Unavailable("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{"canceled", context.Canceled, codes.Canceled},
		{"disk full", &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, codes.ResourceExhausted},
		{"joined", errors.Join(errors.New("a"), errdefs.Exists("b")), codes.AlreadyExists},
		{"kernel", syscall.EINVAL, codes.Unknown},
		{"status", status.Error(codes.OutOfRange, "x"), codes.OutOfRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := toStatus(tt.err)
			if status.Code(got) != tt.want {
				t.Fatalf("got %v, want %v", status.Code(got), tt.want)
			}
			if tt.err != nil && status.Code(tt.err) == codes.Unknown && status.Convert(got).Message() != tt.err.Error() {
				t.Fatalf("the text changed: %q", status.Convert(got).Message())
			}
		})
	}
}
