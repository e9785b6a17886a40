package client

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

// Holds keeps the FIFOs of running processes open beside the keeper: if that is killed, what is in them is not lost and the
// processes' input does not end. Nothing is read or written. One Holds serves all connections of a daemon, one after
// the other; see [Client.Keep]. Terminals have no FIFOs: keep a duplicate of the master.
type Holds struct {
	mu   sync.Mutex
	byID map[string]*held
}

type held struct {
	dir   string
	input sys.Raw
	out   [2]sys.Raw
}

// NewHolds returns a Holds without files.
func NewHolds() *Holds { return &Holds{byID: make(map[string]*held)} }

// Add opens the FIFOs in the stdio folder (Managed.Dir) of a process that runs. Connections with a Holds do that for those that
// they start; a daemon that was restarted does it for the others. It is idempotent.
func (h *Holds) Add(id, dir string) error {
	x, err := open(dir)
	if err != nil {
		return fmt.Errorf("hold stdio of %s: %w", id, err)
	}
	h.mu.Lock()
	_, there := h.byID[id]
	if !there {
		h.byID[id] = x
	}
	h.mu.Unlock()
	if there {
		return x.close()
	}
	return h.syncInput(id, dir) // its end may have been told before it was held
}

// Drop closes a process's FIFOs. It is idempotent.
func (h *Holds) Drop(id string) error {
	h.mu.Lock()
	x := h.byID[id]
	delete(h.byID, id)
	h.mu.Unlock()
	if x == nil {
		return nil
	}
	return x.close()
}

// Close closes all FIFOs.
func (h *Holds) Close() error {
	h.mu.Lock()
	all := h.byID
	h.byID = make(map[string]*held)
	h.mu.Unlock()
	var errs []error
	for _, x := range all {
		errs = append(errs, x.close())
	}
	return errors.Join(errs...)
}

// endInput lets the input of a process end.
func (h *Holds) endInput(id string) error {
	h.mu.Lock()
	input := sys.NoFile
	if x := h.byID[id]; x != nil {
		input, x.input = x.input, sys.NoFile
	}
	h.mu.Unlock()
	return input.Close()
}

// sync lets those inputs end whose end was ordered while nobody told us: the keeper removes the FIFO's name then.
func (h *Holds) sync() error {
	h.mu.Lock()
	dirs := make(map[string]string, len(h.byID))
	for id, x := range h.byID {
		if x.input != sys.NoFile {
			dirs[id] = x.dir
		}
	}
	h.mu.Unlock()
	var errs []error
	for id, dir := range dirs {
		errs = append(errs, h.syncInput(id, dir))
	}
	return errors.Join(errs...)
}

func (h *Holds) syncInput(id, dir string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(dir+"/stdin", &st); errors.Is(err, fs.ErrNotExist) {
		return h.endInput(id)
	}
	return nil
}

func open(dir string) (*held, error) {
	x := &held{dir: dir, input: sys.NoFile, out: [2]sys.Raw{sys.NoFile, sys.NoFile}}
	for _, f := range []struct {
		name  string
		flags int
		to    *sys.Raw
	}{
		{"stdin", syscall.O_WRONLY, &x.input},
		{"stdout", syscall.O_RDWR, &x.out[0]},
		{"stderr", syscall.O_RDWR, &x.out[1]},
	} {
		r, err := sys.RawOpen(dir+"/"+f.name, f.flags|syscall.O_NONBLOCK|syscall.O_NOFOLLOW)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENXIO) { // no input, or one that has ended
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", f.name, err), x.close())
		}
		*f.to = r
	}
	return x, nil
}

func (x *held) close() error {
	return sys.CloseRaw([]sys.Raw{x.input, x.out[0], x.out[1]})
}
