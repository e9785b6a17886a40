package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
)

// await returns once the line "key value" stands in the group's cgroup.events, or the group is gone. The kernel signals
// each change of that file (Documentation/admin-guide/cgroup-v2.rst, "cgroup.events").
func await(ctx context.Context, dir *sys.Dir, key, value string) (err error) {
	f, err := dir.Open("cgroup.events", os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open cgroup.events: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	if done, err := eventIs(f, key, value); done || err != nil { // most often it's so already: no epoll set needed
		return err
	}
	w, err := sys.NewWaiter()
	if err != nil {
		return fmt.Errorf("watch cgroup.events: %w", err)
	}
	cu.Add(w.Close)
	if err := w.AddPriority(f); err != nil {
		return fmt.Errorf("watch cgroup.events: %w", err)
	}
	for {
		if done, err := eventIs(f, key, value); done || err != nil {
			return err
		}
		if err := w.Wait(ctx); err != nil {
			return fmt.Errorf("wait for %q in cgroup.events: %w", key+" "+value, err)
		}
	}
}

// eventIs reads cgroup.events from its start, which also arms its next signal.
func eventIs(f *os.File, key, value string) (bool, error) {
	buf := make([]byte, 256)
	n, err := f.ReadAt(buf, 0)
	if errors.Is(err, syscall.ENODEV) { // the group was removed while the file was open
		return true, nil
	}
	if n == 0 && err != nil {
		return false, fmt.Errorf("read cgroup.events: %w", err)
	}
	for line := range bytes.Lines(buf[:n]) {
		if string(bytes.TrimSpace(line)) == key+" "+value {
			return true, nil
		}
	}
	return false, nil
}

// awaitExit returns once every process of the list has ended. Ones that have ended before are fine.
func awaitExit(ctx context.Context, procs []*os.File) (err error) {
	w, err := sys.NewWaiter()
	if err != nil {
		return fmt.Errorf("watch processes: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(w.Close)
	for _, p := range procs {
		if err := w.AddReadable(p); err != nil {
			return fmt.Errorf("watch processes: %w", err)
		}
		if err := w.Wait(ctx); err != nil {
			return fmt.Errorf("wait for a process to end: %w", err)
		}
		if err := w.Remove(p); err != nil {
			return fmt.Errorf("watch processes: %w", err)
		}
	}
	return nil
}
