package rpc

import (
	"context"
	"errors"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-runtime/berth/internal/errdefs"
)

type kindCode struct {
	kind error
	code codes.Code
}

// kindCodes is asked from the top: an error may carry several kinds, and the ones that say that the caller has gone, or
// that nothing but a repair helps, tell it most.
func kindCodes() []kindCode {
	return []kindCode{
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
		{errdefs.ErrBug, codes.Internal},
		{errdefs.ErrDataLoss, codes.DataLoss},
		{errdefs.ErrNotFound, codes.NotFound},
		{errdefs.ErrExists, codes.AlreadyExists},
		{errdefs.ErrInvalid, codes.InvalidArgument},
		{errdefs.ErrFailedPrecondition, codes.FailedPrecondition},
		{errdefs.ErrUnauthenticated, codes.Unauthenticated},
		{errdefs.ErrPermission, codes.PermissionDenied},
		{errdefs.ErrExhausted, codes.ResourceExhausted},
		{errdefs.ErrUnavailable, codes.Unavailable},
		{errdefs.ErrNotSupported, codes.Unimplemented},
		{syscall.ENOSPC, codes.ResourceExhausted},
		{syscall.EDQUOT, codes.ResourceExhausted},
	}
}

// toStatus turns an error of berth's parts into gRPC's. One that has no kind is Unknown: the kubelet shows such a
// message without a code in front, and it says all there is to say.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	return status.Error(codeOf(err), err.Error())
}

func codeOf(err error) codes.Code {
	for _, m := range kindCodes() {
		if errors.Is(err, m.kind) {
			return m.code
		}
	}
	return codes.Unknown
}
