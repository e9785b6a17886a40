// Package errdefs holds the kinds of error that berth's parts tell each other apart by.
//
// A kind is a sentinel: code that makes an error picks one with [New] (or a shorthand such as [NotFound]), code that
// handles it asks errors.Is. The kind never shows in the text, so messages stay "verb object: cause". The mapping to
// gRPC codes is in cri-server/rpc, the one to CNI codes in cni-plugins/internal; nowhere else.
package errdefs

import (
	"errors"
	"fmt"
)

// The kinds. Deadlines and cancellation are context.DeadlineExceeded and context.Canceled.
var (
	ErrNotFound           = errors.New("not found")
	ErrExists             = errors.New("already exists")
	ErrInvalid            = errors.New("invalid argument")
	ErrFailedPrecondition = errors.New("failed precondition")
	ErrUnavailable        = errors.New("unavailable")
	ErrNotSupported       = errors.New("not supported")
	ErrUnauthenticated    = errors.New("unauthenticated")
	ErrPermission         = errors.New("permission denied")
	ErrExhausted          = errors.New("resource exhausted")
	ErrDataLoss           = errors.New("data loss")
	ErrBug                = errors.New("internal error")
)

type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// New returns an error of the given kind. The format may wrap causes with %w.
func New(kind error, format string, args ...any) error {
	return &kindError{kind: kind, err: fmt.Errorf(format, args...)}
}

// NotFound returns an error of kind [ErrNotFound].
func NotFound(format string, args ...any) error { return New(ErrNotFound, format, args...) }

// Exists returns an error of kind [ErrExists].
func Exists(format string, args ...any) error { return New(ErrExists, format, args...) }

// Invalid returns an error of kind [ErrInvalid].
func Invalid(format string, args ...any) error { return New(ErrInvalid, format, args...) }

// FailedPrecondition returns an error of kind [ErrFailedPrecondition].
func FailedPrecondition(format string, args ...any) error {
	return New(ErrFailedPrecondition, format, args...)
}

// Unavailable returns an error of kind [ErrUnavailable].
func Unavailable(format string, args ...any) error { return New(ErrUnavailable, format, args...) }

// NotSupported returns an error of kind [ErrNotSupported].
func NotSupported(format string, args ...any) error { return New(ErrNotSupported, format, args...) }

// Bug marks a broken invariant: something that no input should be able to cause.
func Bug(format string, args ...any) error {
	return New(ErrBug, "internal error: "+format, args...)
}
