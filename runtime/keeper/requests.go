package keeper

import (
	"errors"
	"math/bits"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// handler does what one request asks. The files of its result are the caller's.
type handler func() (result []byte, files []sys.Raw, err error)

// decode verifies a request and returns what to do. On success the handler owns the request's files.
func (s *server) decode(m wire.Message) (handler, error) {
	switch m.Type {
	case wire.TypeStart:
		return s.decodeStart(m)
	case wire.TypeAttach:
		return s.decodeAttach(m)
	case wire.TypeAdopt:
		return s.decodeAdopt(m)
	case wire.TypeUpgrade:
		return nil, errdefs.FailedPrecondition("an upgrade is under way")
	}
	if len(m.Files) > 0 {
		return nil, errdefs.Invalid("request of type %d with %d files", m.Type, len(m.Files))
	}
	switch m.Type {
	case wire.TypeHello:
		v, err := wire.DecodeHello(m.Payload)
		return func() ([]byte, []sys.Raw, error) { return hello(v) }, err
	case wire.TypeResize:
		r, err := wire.DecodeResize(m.Payload)
		return done(func() error { return s.resize(r) }), err
	case wire.TypeCloseStdin:
		return s.named(m, s.closeStdin)
	case wire.TypeReopenLog:
		return s.named(m, s.reopenLog)
	case wire.TypeForget:
		return s.named(m, s.forget)
	case wire.TypeMaster:
		id, err := wire.DecodeName(m.Payload)
		return func() ([]byte, []sys.Raw, error) { return s.master(id) }, err
	case wire.TypeList:
		return func() ([]byte, []sys.Raw, error) { return wire.EncodeProcesses(s.list()), nil, nil }, nil
	default:
		return nil, errdefs.Invalid("request of unknown type %d", m.Type)
	}
}

func hello(version uint32) ([]byte, []sys.Raw, error) {
	if version != wire.Version {
		return nil, nil, errdefs.NotSupported("the keeper speaks version %d of its protocol, not %d: restart it (containers go on)", wire.Version, version)
	}
	return wire.EncodeHello(wire.Version), nil, nil
}

// done makes a handler of a function without a result.
func done(f func() error) handler {
	return func() ([]byte, []sys.Raw, error) { return nil, nil, f() }
}

func (s *server) named(m wire.Message, f func(id string) error) (handler, error) {
	id, err := wire.DecodeName(m.Payload)
	return done(func() error { return f(id) }), err
}

// pick takes the files that has tells of off the front of the list; the result has one for every bit.
func pick(has uint8, files []sys.Raw) (picked [8]sys.Raw, rest []sys.Raw, err error) {
	if bits.OnesCount8(has) > len(files) {
		return picked, nil, errdefs.Invalid("request with %d of %d files", len(files), bits.OnesCount8(has))
	}
	for i := range picked {
		picked[i] = sys.NoFile
		if has&(1<<i) != 0 {
			picked[i], files = files[0], files[1:]
		}
	}
	return picked, files, nil
}

func (s *server) decodeAttach(m wire.Message) (handler, error) {
	a, err := wire.DecodeAttach(m.Payload)
	if err != nil {
		return nil, err
	}
	f, rest, err := pick(a.Has, m.Files)
	if err == nil && len(rest) > 0 {
		err = errdefs.Invalid("attach with %d files too many", len(rest))
	}
	if err != nil {
		return nil, err
	}
	return done(func() error {
		io, err := s.managed(a.ID)
		if err != nil {
			return errors.Join(err, sys.CloseRaw(f[:]))
		}
		return io.Attach(f[0], f[1], f[2])
	}), nil
}

func (s *server) resize(r wire.Resize) error {
	io, err := s.managed(r.ID)
	if err != nil {
		return err
	}
	return io.Resize(r.Width, r.Height)
}

// master gives a berthd that was restarted what it kept before: the terminal's other owner, should the keeper be killed.
func (s *server) master(id string) ([]byte, []sys.Raw, error) {
	io, err := s.managed(id)
	if err != nil {
		return nil, nil, err
	}
	m, err := io.Master()
	if err != nil || m == sys.NoFile {
		return nil, nil, err
	}
	return nil, []sys.Raw{m}, nil
}

func (s *server) closeStdin(id string) error {
	io, err := s.managed(id)
	if err != nil {
		return err
	}
	return io.CloseStdin()
}

func (s *server) reopenLog(id string) error {
	io, err := s.managed(id)
	if err != nil {
		return err
	}
	return io.ReopenLog()
}
