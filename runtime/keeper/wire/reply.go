package wire

import (
	"errors"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/fork"
)

// The forms of a reply: done, an error of a kind, or a failed step of a program.
const (
	statusDone = 0
	statusKind = 1
	statusStep = 2
)

// kind is an error kind with its number on the wire.
type kind struct {
	code uint8
	err  error
}

func kinds() []kind {
	return []kind{
		{1, errdefs.ErrNotFound},
		{2, errdefs.ErrExists},
		{3, errdefs.ErrInvalid},
		{4, errdefs.ErrFailedPrecondition},
		{5, errdefs.ErrUnavailable},
		{6, errdefs.ErrNotSupported},
		{7, errdefs.ErrPermission},
		{8, errdefs.ErrExhausted},
		{9, errdefs.ErrDataLoss},
		{10, errdefs.ErrBug},
	}
}

// remoteError is an error that happened in the keeper.
type remoteError struct {
	text string
	is   []error // kind and errno, where it has them
}

func (e *remoteError) Error() string   { return e.text }
func (e *remoteError) Unwrap() []error { return e.is }

// EncodeReply returns the reply to a request that ended with err, or with the given result.
func EncodeReply(result []byte, err error) []byte {
	var e encoder
	var step *fork.StepError
	switch {
	case err == nil:
		e.U8(statusDone)
		e.Data = append(e.Data, result...)
	case errors.As(err, &step):
		e.U8(statusStep)
		e.U32(uint32(step.Errno))
		e.Str(step.Step[:min(len(step.Step), MaxText)])
	default:
		e.U8(statusKind)
		e.U8(kindCode(err))
		var errno syscall.Errno
		errors.As(err, &errno)
		e.U32(uint32(errno))
		text := err.Error()
		e.Str(text[:min(len(text), MaxText)])
	}
	return e.Data
}

// DecodeReply returns the result of a request, or its error: a *fork.StepError, or one on which errors.Is finds the kind and
// the errno.
func DecodeReply(data []byte) (result []byte, err error) {
	d := newDecoder(data)
	switch status := d.U8(); status {
	case statusDone:
		return d.Data, d.Err
	case statusStep:
		step := &fork.StepError{Errno: syscall.Errno(d.U32()), Step: d.Str("step", MaxText)}
		if err := d.End(); err != nil {
			return nil, err
		}
		return nil, step
	case statusKind:
		code, errno, text := d.U8(), syscall.Errno(d.U32()), d.Str("error", MaxText)
		if err := d.End(); err != nil {
			return nil, err
		}
		return nil, remote(code, errno, text)
	default:
		d.Fail("reply with status %d", status)
		return nil, d.Err
	}
}

func kindCode(err error) uint8 {
	for _, k := range kinds() {
		if errors.Is(err, k.err) {
			return k.code
		}
	}
	return 0
}

func remote(code uint8, errno syscall.Errno, text string) error {
	e := &remoteError{text: text}
	for _, k := range kinds() {
		if k.code == code {
			e.is = append(e.is, k.err)
		}
	}
	if errno != 0 {
		e.is = append(e.is, errno)
	}
	return e
}
