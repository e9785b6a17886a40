package stream

import "io"

const (
	aheadBuffers = 4
	aheadSize    = 256 << 10
)

// Ahead reads a source in a goroutine of its own, up to 1 MiB ahead, so that decompressing and unpacking run on two
// CPUs.
type Ahead struct {
	full chan chunk
	free chan []byte
	stop chan struct{}
	done chan struct{}

	current chunk
	rest    []byte
}

type chunk struct {
	data []byte // its capacity is the whole buffer
	err  error
}

// NewAhead starts reading.
func NewAhead(src io.Reader) *Ahead {
	a := &Ahead{
		full: make(chan chunk, aheadBuffers), free: make(chan []byte, aheadBuffers),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	for range aheadBuffers {
		a.free <- make([]byte, aheadSize)
	}
	go a.run(src)
	return a
}

func (a *Ahead) run(src io.Reader) {
	defer close(a.done)
	for {
		select {
		case <-a.stop:
			return
		case buffer := <-a.free:
			n, err := fill(src, buffer)
			a.full <- chunk{buffer[:n], err} // never blocks: there are no more chunks than buffers
			if err != nil {
				return
			}
		}
	}
}

// fill is io.ReadFull that keeps the source's error.
func fill(src io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = src.Read(p[n:])
		n += m
	}
	return n, err
}

// Read implements io.Reader.
func (a *Ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.current.err != nil {
			return 0, a.current.err
		}
		if a.current.data != nil {
			a.free <- a.current.data[:aheadSize]
		}
		a.current = <-a.full
		a.rest = a.current.data
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close waits until the goroutine no longer reads the source; make the source fail first if it might block.
func (a *Ahead) Close() error {
	close(a.stop)
	<-a.done
	return nil
}
