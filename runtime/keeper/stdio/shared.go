package stdio

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

const (
	chunkBytes   = 64 << 10 // what a pipe holds unless the process makes it larger
	recordsBytes = 128 << 10
	idlePipes    = 2
)

// Shared is what all processes' stdio has in common.
type Shared struct {
	Poller     *sys.Poller
	Logger     *slog.Logger
	Active     func()          // called when there is output; must be quick
	InputEnded func(id string) // called when a process's input has been closed for good; must be quick

	buffers sync.Pool
	pipes   chan [2]sys.Raw
}

// NewShared returns a Shared without open files.
func NewShared(poller *sys.Poller, logger *slog.Logger, active func(), inputEnded func(id string)) *Shared {
	return &Shared{Poller: poller, Logger: logger, Active: active, InputEnded: inputEnded, pipes: make(chan [2]sys.Raw, idlePipes)}
}

// Close closes spare pipes.
func (s *Shared) Close() error {
	var errs []error
	for {
		select {
		case p := <-s.pipes:
			errs = append(errs, p[0].Close(), p[1].Close())
		default:
			return errors.Join(errs...)
		}
	}
}

// buffers is the working memory of one turn. Turns take it from a pool, which the garbage collector empties.
type buffers struct {
	in  [holdBytes + chunkBytes]byte
	out []byte
}

func (s *Shared) borrow() *buffers {
	if b, ok := s.buffers.Get().(*buffers); ok {
		return b
	}
	return &buffers{out: make([]byte, 0, recordsBytes)}
}

func (s *Shared) giveBack(b *buffers) { s.buffers.Put(b) }

// peek copies what is at the front of a FIFO into p without taking it out, as much as one read would take. 0: the FIFO is
// empty.
func (s *Shared) peek(fifo sys.Raw, p []byte) (n int, err error) {
	pipe, err := s.pipe()
	if err != nil {
		return 0, err
	}
	copied, err := sys.Tee(fifo, pipe[1], len(p))
	if errors.Is(err, syscall.EAGAIN) {
		return 0, s.keepPipe(pipe)
	}
	if err == nil && copied > 0 {
		n, err = pipe[0].Read(p)
	}
	if err == nil && n == copied {
		return n, s.keepPipe(pipe)
	}
	// What is left in the pipe (packets behind the first) would look like output of the next process: it goes with the pipe.
	return n, errors.Join(err, pipe[0].Close(), pipe[1].Close())
}

func (s *Shared) pipe() ([2]sys.Raw, error) {
	select {
	case p := <-s.pipes:
		return p, nil
	default:
	}
	r, w, err := sys.RawPipe()
	if err != nil {
		return [2]sys.Raw{}, fmt.Errorf("make a pipe: %w", err)
	}
	return [2]sys.Raw{r, w}, nil
}

func (s *Shared) keepPipe(p [2]sys.Raw) error {
	select {
	case s.pipes <- p:
		return nil
	default:
		return errors.Join(p[0].Close(), p[1].Close())
	}
}
