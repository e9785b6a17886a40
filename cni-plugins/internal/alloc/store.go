package alloc

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Store is the allocations of one network.
type Store struct {
	dir  string
	boot string
}

// Open names the store of a network in a folder that holds those of all networks. Nothing is made yet.
func Open(dataDir, network string) (*Store, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("open allocations of network %s: %w", network, err)
	}
	return &Store{dir: filepath.Join(dataDir, network), boot: strings.TrimSpace(string(boot))}, nil
}

func (s *Store) path() string  { return filepath.Join(s.dir, "allocations") }
func (s *Store) draft() string { return filepath.Join(s.dir, "allocations.new") }

// Assign gives an owner one address of each set; see [State.Assign].
func (s *Store) Assign(sets []Set, want []netip.Addr, e Entry) ([]Assignment, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for allocations: %w", err)
	}
	var given []Assignment
	err := s.update(func(st *State, damage error) (bool, error) {
		if damage != nil {
			return false, s.explain(damage)
		}
		var err error
		given, err = st.Assign(sets, want, e, Alive)
		return err == nil, err
	})
	return given, err
}

// Release frees the addresses of an owner. It is idempotent. In a damaged file nothing is changed; what is whole of it is GC's.
func (s *Store) Release(o Owner) error {
	return s.updateExisting(func(st *State, damage error) (bool, error) {
		return st.Release(func(e Entry) bool { return e.Owner != o }) && damage == nil, nil
	})
}

// GC frees the addresses of all owners but the valid ones, and repairs a damaged file if what is left of it explains them all.
func (s *Store) GC(valid map[Owner]bool) error {
	return s.updateExisting(func(st *State, damage error) (bool, error) {
		changed := st.Release(func(e Entry) bool { return valid[e.Owner] })
		if damage == nil {
			return changed, nil
		}
		if errors.Is(damage, errdefs.ErrDataLoss) && explains(st, valid) {
			return true, nil
		}
		return false, s.explain(damage)
	})
}

func explains(st *State, valid map[Owner]bool) bool {
	for o := range valid {
		if len(st.Of(o)) == 0 {
			return false
		}
	}
	return true
}

// Of returns the addresses of an owner.
func (s *Store) Of(o Owner) (list []netip.Addr, err error) {
	err = s.updateExisting(func(st *State, damage error) (bool, error) {
		list = st.Of(o)
		if damage != nil {
			return false, s.explain(damage)
		}
		return false, nil
	})
	return list, err
}

// Free returns an error when an attachment could not get its addresses.
func (s *Store) Free(sets []Set) error {
	return s.updateExisting(func(st *State, damage error) (bool, error) {
		if damage != nil {
			return false, s.explain(damage)
		}
		return false, st.Free(sets, Alive)
	})
}

func (s *Store) explain(damage error) error {
	return fmt.Errorf("allocations in %s can't be trusted: %w; when no container of the network runs, remove the file", s.path(), damage)
}

// updateExisting is update for a store that may not be there; then it does nothing.
func (s *Store) updateExisting(f func(st *State, damage error) (save bool, err error)) error {
	err := s.update(f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// update locks the folder, reads the state, calls f with it, and replaces the file if f wants that.
func (s *Store) update(f func(st *State, damage error) (save bool, err error)) (err error) {
	lock, err := lockDir(s.dir)
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
	st, damage, err := s.read()
	if err != nil {
		return err
	}
	save, err := f(st, damage)
	if err != nil || !save {
		return err
	}
	return s.write(st)
}

// write replaces the file. It is not atomicfile's, which makes a new name each time: a kill would leave it for ever.
func (s *Store) write(st *State) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return os.Remove(s.draft()) })
	if err := os.WriteFile(s.draft(), encode(st, s.boot), 0o600); err != nil {
		return fmt.Errorf("record allocations: %w", err)
	}
	if err := os.Rename(s.draft(), s.path()); err != nil {
		return fmt.Errorf("record allocations: %w", err)
	}
	cu.Release()
	return nil
}

// lockDir waits for the lock, which goes away with the file or its process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
	}
}

// read returns the state, empty if there is no file, and as damage what is wrong with the file.
func (s *Store) read() (st *State, damage, err error) {
	info, err := os.Stat(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return &State{}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read allocations: %w", err)
	}
	if info.Size() > fileMax || !info.Mode().IsRegular() {
		return &State{}, damaged("it is no regular file of at most %d bytes", fileMax), nil
	}
	data, err := os.ReadFile(s.path())
	if err != nil {
		return nil, nil, fmt.Errorf("read allocations: %w", err)
	}
	st, damage = decode(data, s.boot)
	return st, damage, nil
}

// Alive tells whether the namespace of an entry's owner may still exist: only one whose path is gone, or leads to another
// namespace now, is surely dead.
func Alive(e Entry) bool {
	if e.Netns == "" || e.Inode == 0 {
		return true
	}
	info, err := os.Stat(e.Netns)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Ino == e.Inode
}
