package plugin

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Codes of berth's plugins; the specification leaves those from 100 on to plugins.
const (
	CodeConflict uint = 100 // something that must be unique exists already: an interface, a published port, an allocation
	CodeMismatch uint = 101 // CHECK found something else than ADD made
	CodeDamaged  uint = 102 // state on disk is damaged
)

// DetailsExhausted are the details of an error because all addresses are taken. The code of a STATUS does not tell that apart from
// what keeps a node from being ready.
const DetailsExhausted = "addresses exhausted"

// details are those of a delegate, or our own.
func details(err error) string {
	var said *types.Error
	switch {
	case errors.Is(err, errdefs.ErrExhausted):
		return DetailsExhausted
	case errors.As(err, &said) && said.Details == DetailsExhausted:
		return said.Details
	}
	return "" // other details of a delegate stand in the text
}

// codedError carries a code that its kind alone does not tell.
type codedError struct {
	code uint
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// WithCode gives an error a CNI code; nil stays nil.
func WithCode(code uint, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

// Unsupported is the error for a configuration field whose meaning this plugin does not implement (code 2). As the
// specification asks, it names the key and the value.
func Unsupported(key string, value any) error {
	return WithCode(types.ErrUnsupportedField, errdefs.NotSupported("config key %q with value %v is not supported", key, value))
}

// Mismatch is the error of a CHECK that found something else than ADD made.
func Mismatch(format string, args ...any) error {
	return WithCode(CodeMismatch, errdefs.FailedPrecondition(format, args...))
}

// code is the one mapping from errors to CNI codes.
func code(command string, err error) uint {
	var coded *codedError
	var said *types.Error
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &said):
		return said.Code
	case errors.Is(err, errdefs.ErrInvalid):
		return types.ErrInvalidNetworkConfig
	case command == "STATUS": // could do its work, if the node were all right
		return types.ErrPluginNotAvailable
	case errors.Is(err, errdefs.ErrNotSupported):
		return types.ErrUnsupportedField
	case errors.Is(err, errdefs.ErrNotFound):
		return types.ErrUnknownContainer
	case errors.Is(err, errdefs.ErrExists):
		return CodeConflict
	case errors.Is(err, errdefs.ErrDataLoss):
		return CodeDamaged
	case errors.Is(err, errdefs.ErrExhausted), errors.Is(err, errdefs.ErrUnavailable):
		return types.ErrTryAgainLater
	case errors.As(err, new(*fs.PathError)), errors.As(err, new(syscall.Errno)):
		return types.ErrIOFailure
	}
	return types.ErrInternal
}
