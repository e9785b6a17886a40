package imagestore

import (
	"io"
	"sync"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

const (
	// slack is what a pull leaves free for everybody else on the file system.
	slack = 64 << 20
	// lookEvery is how many unpacked bytes go by between two looks at what is left.
	lookEvery = 16 << 20
)

// space reserves disk space for pulls before their bytes flow, so that two that fit alone but not together don't both
// start.
type space struct {
	path string

	mu       sync.Mutex
	reserved uint64
}

// reserve sets bytes aside until free is called. Too little space is an error of kind Exhausted.
func (s *space) reserve(bytes uint64) (free func(), err error) {
	disk, err := sys.Statfs(s.path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if need := bytes + s.reserved + slack; bytes > 0 && need > disk.BytesFree {
		return nil, errdefs.New(errdefs.ErrExhausted,
			"disk full: the image's layers need at least %s, other running pulls %s, %s stay free for everybody else, and %s are free on the file system of %s: remove images or give it more space",
			megabytes(bytes), megabytes(s.reserved), megabytes(slack), megabytes(disk.BytesFree), s.path)
	}
	s.reserved += bytes
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reserved -= bytes
	}, nil
}

// guard passes unpacked bytes through as long as there is room for them. What a layer unpacks to is not known beforehand.
type guard struct {
	r     io.Reader
	space *space
	since int
}

// Read implements io.Reader.
func (g *guard) Read(p []byte) (int, error) {
	if g.since -= len(p); g.since <= 0 {
		g.since = lookEvery
		disk, err := sys.Statfs(g.space.path)
		if err != nil {
			return 0, err
		}
		if disk.BytesFree < slack {
			return 0, errdefs.New(errdefs.ErrExhausted,
				"disk full: %s are free on the file system of %s while layers are unpacked: remove images or give it more space",
				megabytes(disk.BytesFree), g.space.path)
		}
	}
	return g.r.Read(p)
}
