package overlay

import (
	"log/slog"
	"strconv"
	"sync"

	"github.com/berth-runtime/berth/internal/sys"
)

// maxWaiting is how many trees may wait for their deletion. Who brings more deletes by himself, so that trees can't be made faster
// than they go.
const maxWaiting = 64

// deleter deletes trees in tmp, one after the other, while nobody waits for it: where a file system tells its disk of each block that
// is free (mount option discard), removing a folder takes 0.2 ms at best.
type deleter struct {
	tmp *sys.Dir
	log *slog.Logger

	mu      sync.Mutex
	waiting []string
	running bool
	closed  bool
	done    sync.WaitGroup
}

// take says whether it takes care of the name.
func (t *deleter) take(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.waiting) >= maxWaiting {
		return false
	}
	t.waiting = append(t.waiting, name)
	if !t.running {
		t.running = true
		t.done.Go(t.run)
	}
	return true
}

func (t *deleter) run() {
	for {
		t.mu.Lock()
		if t.closed || len(t.waiting) == 0 {
			t.running = false
			t.mu.Unlock()
			return
		}
		name := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.mu.Unlock()
		if err := removeTree(t.tmp, name); err != nil {
			t.log.Warn("what is left of a discarded snapshot stays until the next start", "folder", name, "error", err)
		}
	}
}

// close returns when nothing is being deleted. What still waits is deleted by the next Open.
func (t *deleter) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.done.Wait()
}

// bin moves name out of from to tmp, where it is trash that the next Open deletes if nobody else does, and returns its name there.
// ErrNotExist if there is no such name.
func (d *Driver) bin(from *sys.Dir, name string) (string, error) {
	gone := "trash-" + strconv.FormatUint(d.serial.Add(1), 10)
	return gone, from.RenameNew(name, d.tmp, gone)
}

// trash moves name out of from, where it is gone at once, and deletes it. ErrNotExist if there is no such name.
func (d *Driver) trash(from *sys.Dir, name string) error {
	gone, err := d.bin(from, name)
	if err != nil {
		return err
	}
	return removeTree(d.tmp, gone)
}

// trashLater is trash, but for the deletion, which may come later.
func (d *Driver) trashLater(from *sys.Dir, name string) error {
	gone, err := d.bin(from, name)
	if err != nil || d.deleter.take(gone) {
		return err
	}
	return removeTree(d.tmp, gone)
}
