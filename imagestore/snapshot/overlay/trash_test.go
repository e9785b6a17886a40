package overlay

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What is discarded is gone at once, and its files soon after, in the background or, where that has too much to do or is over, at
// the hands of who discards it.
func TestDiscardedFilesGo(t *testing.T) {
	d, root := newDriver(t)
	discard := func(key string) {
		must(t, d.Prepare(t.Context(), key, nil))
		must(t, os.WriteFile(filepath.Join(root, "snapshots", key, "upper", "f"), nil, 0o600))
		must(t, d.Discard(t.Context(), key))
		if keys, err := d.Keys(t.Context()); err != nil || len(keys) > 0 {
			t.Fatalf("after Discard there are %v, %v", keys, err)
		}
	}
	trash := func() (names []string) {
		left, err := os.ReadDir(filepath.Join(root, "tmp"))
		must(t, err)
		for _, e := range left {
			if strings.HasPrefix(e.Name(), "trash-") {
				names = append(names, e.Name())
			}
		}
		return names
	}
	for i := range 2 * maxWaiting {
		discard(strconv.Itoa(i))
	}
	d.deleter.done.Wait()
	if left := trash(); len(left) > 0 {
		t.Errorf("left by the background: %v", left)
	}

	d.deleter.mu.Lock()
	d.deleter.running, d.deleter.waiting = true, make([]string, maxWaiting)
	d.deleter.mu.Unlock()
	discard("full")
	if left := trash(); len(left) > 0 {
		t.Errorf("left although the list was full: %v", left)
	}
	d.deleter.mu.Lock()
	d.deleter.running, d.deleter.waiting = false, nil
	d.deleter.mu.Unlock()

	d.deleter.close()
	discard("late")
	if left := trash(); len(left) > 0 {
		t.Errorf("left after the end: %v", left)
	}
}

// Files that wait for their deletion when the store is closed are deleted by the next Open.
func TestTrashIsSweptAtOpen(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	d, err := Open(t.Context(), Config{Root: root})
	must(t, err)
	must(t, d.Prepare(t.Context(), "k", nil))
	d.deleter.mu.Lock()
	d.deleter.running = true // nobody works on the list
	d.deleter.mu.Unlock()
	must(t, d.Discard(t.Context(), "k"))
	must(t, d.Close())
	if left, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(left) != 1 {
		t.Fatalf("before: %v, %v", left, err)
	}
	d, err = Open(t.Context(), Config{Root: root})
	must(t, err)
	must(t, d.Close())
	if left, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("after: %v, %v", left, err)
	}
}
