package stdio

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/logs"
)

const (
	slotBytes = 64
	holdBytes = logs.MaxLine // an unfinished line is shorter
	maxSlots  = 8192
	noSlot    = ^uint32(0)

	fileBytes = maxSlots * (slotBytes + 4*holdBytes)
)

// Cursors is the file of all cursors, mapped into memory. It is sparse: only what is in use takes memory. What is to be
// written is allocated before: a page that a full tmpfs can't provide would end the process (SIGBUS).
type Cursors struct {
	file *os.File
	mem  []byte

	mu   sync.Mutex
	used [maxSlots / 64]uint64
}

// OpenCursors opens or makes the file, which must be on a file system that can be mapped (any but some network ones).
func OpenCursors(path string) (_ *Cursors, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cursors: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	if err := f.Truncate(fileBytes); err != nil {
		return nil, fmt.Errorf("size cursors: %w", err)
	}
	mem, err := sys.MapShared(f, fileBytes)
	if err != nil {
		return nil, fmt.Errorf("map cursors: %w", err)
	}
	cu.Release()
	return &Cursors{file: f, mem: mem}, nil
}

// Close unmaps the file. No cursor may be used any more.
func (c *Cursors) Close() error { return errors.Join(sys.Unmap(c.mem), c.file.Close()) }

// New returns a cleared cursor for the process with the given sequence number.
func (c *Cursors) New(seq uint64) (*Cursor, uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range uint32(maxSlots) {
		if c.used[i/64]&(1<<(i%64)) == 0 {
			cur, err := c.at(i)
			if err != nil {
				return nil, noSlot, err
			}
			c.used[i/64] |= 1 << (i % 64)
			return cur.claim(seq), i, nil
		}
	}
	return nil, noSlot, errdefs.New(errdefs.ErrExhausted, "all %d stdio cursors are in use", maxSlots)
}

// Claim returns the cursor that a former keeper used for the process with the given sequence number.
func (c *Cursors) Claim(slot uint32, seq uint64) (*Cursor, error) {
	if slot >= maxSlots {
		return nil, errdefs.Invalid("claim cursor %d of %d", slot, maxSlots)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used[slot/64]&(1<<(slot%64)) != 0 {
		return nil, errdefs.Exists("cursor %d is in use", slot)
	}
	cur, err := c.at(slot)
	if err != nil {
		return nil, err
	}
	c.used[slot/64] |= 1 << (slot % 64)
	return cur.claim(seq), nil
}

// Free gives a slot back.
func (c *Cursors) Free(slot uint32) {
	if slot >= maxSlots {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used[slot/64] &^= 1 << (slot % 64)
}

func (c *Cursors) at(slot uint32) (*Cursor, error) {
	i := int(slot)
	if err := sys.Allocate(c.file, int64(i*slotBytes), slotBytes); err != nil {
		return nil, fmt.Errorf("make room for a stdio cursor: %w", err)
	}
	cur := &Cursor{slot: c.mem[i*slotBytes : (i+1)*slotBytes], file: c.file}
	cur.holdsAt = maxSlots*slotBytes + 4*i*holdBytes
	cur.split(c.mem[cur.holdsAt : cur.holdsAt+4*holdBytes])
	return cur, nil
}

// NewCursor returns one that is not shared with a successor.
func NewCursor() *Cursor {
	cur := &Cursor{slot: make([]byte, slotBytes)}
	cur.split(make([]byte, 4*holdBytes))
	return cur
}

func (c *Cursor) split(holds []byte) {
	for i := range c.holds {
		for j := range c.holds[i] {
			c.holds[i][j], holds = holds[:holdBytes:holdBytes], holds[holdBytes:]
		}
	}
}
