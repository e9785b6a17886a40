package alloc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"github.com/berth-runtime/berth/cni-plugins/internal/flock"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// freedLong is when what an earlier boot left counts as freed, in seconds since boot.
const freedLong = math.MinInt32

// update locks the network's folder and calls f with its table, or with what is wrong with the file. If there is neither a file nor
// something to make one of, and none is to be made, it does nothing.
func (s *Store) update(create bool, f func(t *table, damage error) error) (err error) {
	if !create && !s.exists() {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make folder for allocations: %w", err)
	}
	lock, err := flock.Open(s.dir)
	if err != nil {
		return fmt.Errorf("lock allocations: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(lock.Close)
	// What a process left that was killed while it wrote. Nobody else writes, so it is nobody's.
	if err := os.Remove(s.draft()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an unfinished record of allocations: %w", err)
	}
	t, damage, err := s.load()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.f.Close()) }()
	return f(t, damage)
}

// exists tells whether there is a file, or something to make one of.
func (s *Store) exists() bool {
	_, err := os.Stat(s.path())
	return !errors.Is(err, fs.ErrNotExist) || len(formerFiles(s.former)) > 0
}

// load opens the file and makes it current: a missing one is made, one of an earlier boot is emptied, and what a killed process left
// half done is undone.
func (s *Store) load() (t *table, damage, err error) {
	t, err = s.open()
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.takeOver(); err == nil {
			t, err = s.open()
		}
	}
	void := t != nil && t.boot != "" && t.boot != s.boot // an earlier boot's, which is worth what can be read of it
	switch {
	case errors.Is(err, errdefs.ErrNotSupported), errors.Is(err, errdefs.ErrDataLoss) && !void:
		return t, err, nil
	case err != nil && !void:
		return nil, nil, err
	case !void && !t.marked:
		return t, nil, nil
	}
	list, damage := t.entries()
	if damage != nil && !void {
		return t, damage, nil
	}
	if err := s.remake(t, settle(list, !void), 0); err != nil {
		return nil, nil, errors.Join(err, t.f.Close())
	}
	return t, nil, nil
}

// open returns the table also with an error of kind ErrDataLoss or ErrNotSupported.
func (s *Store) open() (*table, error) {
	info, err := os.Stat(s.path())
	if err != nil {
		return nil, fmt.Errorf("read allocations: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, errdefs.FailedPrecondition("read allocations: %s is no regular file; remove it", s.path())
	}
	f, err := s.openRW(s.path())
	if err != nil {
		return nil, fmt.Errorf("read allocations: %w", err)
	}
	t, err := openTable(f)
	if err != nil && t == nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, err
}

// settle returns what counts of entries that a change was interrupted in, or that are from an earlier boot: an owner that lacks some
// of its addresses was about to get them, and nobody was told, or about to be freed. After a boot nobody has any, but pods get
// their addresses back.
func settle(list []found, current bool) []Entry {
	have := map[Owner]int{}
	for _, f := range list {
		if !f.Free {
			have[f.Owner]++
		}
	}
	var entries []Entry
	for _, f := range list {
		e := f.Entry
		if !e.Free && (!current || have[e.Owner] != e.Of) {
			e.free(freedLong)
		}
		if !current {
			e.Freed = freedLong
		}
		entries = append(entries, e)
	}
	return entries
}

// makeRoom sees to it that so many slots are left. If it must make a new file, it forgets the addresses that were freed longest ago.
func (s *Store) makeRoom(t *table, slots int, pool Pool) error {
	if int(t.used)+slots <= int(t.slots) {
		return nil
	}
	list, err := t.entries()
	if err != nil {
		return err
	}
	now, err := s.uptime()
	if err != nil {
		return err
	}
	return s.remake(t, thin(list, now, pool.Cooldown), slots)
}

// freedLeast is how many freed addresses are kept in mind even if few are taken.
const freedLeast = 64

// thin leaves out freed addresses but for those that cool down and the newest, half as many as are taken.
func thin(list []found, now int64, cooldown time.Duration) []Entry {
	var entries, freed []Entry
	for _, f := range list {
		if f.Free {
			freed = append(freed, f.Entry)
		} else {
			entries = append(entries, f.Entry)
		}
	}
	slices.SortStableFunc(freed, func(a, b Entry) int { return cmp.Compare(b.Freed, a.Freed) })
	most := freedLeast + len(entries)/2
	for i, e := range freed {
		if i < most || time.Duration(now-e.Freed)*time.Second < cooldown {
			entries = append(entries, e)
		}
	}
	return entries
}

// remake replaces the file by one with these entries and so many slots left. On an error the table is as before.
func (s *Store) remake(t *table, entries []Entry, room int) error {
	if err := s.create(t.header, entries, room); err != nil {
		return err
	}
	fresh, err := s.open()
	if err != nil {
		return err
	}
	old := t.f
	*t = *fresh
	return old.Close()
}

// create makes a file of entries, with room for half as many again, and gives it its name when it is whole.
func (s *Store) create(h header, entries []Entry, room int) (err error) {
	h.boot, h.slots = s.boot, slotsLeast
	for int(h.slots) < len(entries)+max(len(entries)/2, slotsLeast/2, room) {
		h.slots *= 2
	}
	if h.slots > slotsMost {
		return errdefs.New(errdefs.ErrExhausted, "record allocations: %s would hold more than %d addresses", s.path(), slotsMost)
	}
	data, size, err := image(h, entries)
	if err != nil {
		return err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return os.Remove(s.draft()) })
	if err := os.WriteFile(s.draft(), data, 0o600); err != nil {
		return fmt.Errorf("record allocations: %w", err)
	}
	if err := os.Truncate(s.draft(), size); err != nil {
		return fmt.Errorf("record allocations: %w", err)
	}
	if err := os.Rename(s.draft(), s.path()); err != nil {
		return fmt.Errorf("record allocations: %w", err)
	}
	cu.Release()
	return nil
}
