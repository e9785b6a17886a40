package alloc

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// Store is the allocations of one network.
type Store struct {
	dir    string
	former string // folder of the CNI project's host-local for the network
	boot   string
	openRW func(path string) (storage, error)
	uptime func() (int64, error) // seconds
}

// Open names the store of a network in a folder that holds those of all networks. What the CNI project's host-local has recorded
// in the network's folder below formerDir is taken over when there is no file yet. Nothing is made yet.
func Open(dataDir, formerDir, network string) (*Store, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("open allocations of network %s: %w", network, err)
	}
	return &Store{
		dir: filepath.Join(dataDir, network), former: filepath.Join(formerDir, network), boot: strings.TrimSpace(string(boot)),
		openRW: openRW, uptime: uptime,
	}, nil
}

func openRW(path string) (storage, error) { return os.OpenFile(path, os.O_RDWR, 0) }

func uptime() (int64, error) {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask how long the machine is up: %w", err)
	}
	return int64(info.Uptime), nil
}

func (s *Store) path() string  { return filepath.Join(s.dir, "allocations") }
func (s *Store) draft() string { return filepath.Join(s.dir, "allocations.new") }

// Assign gives an owner one address of each set: the one in want that belongs to the set, else the one that its pod had, else the
// next free one. If a set has none left, addresses whose owner is not alive are taken back first. On an error nobody has got any.
func (s *Store) Assign(pool Pool, want []netip.Addr, e Entry) ([]Assignment, error) {
	var given []Assignment
	err := s.update(true, func(t *table, damage error) error {
		if damage != nil {
			return s.explain(damage)
		}
		have, err := t.find(byOwner, e.Owner.key())
		if err != nil {
			return s.explain(err)
		}
		if len(have) > 0 {
			return errdefs.Exists("assign an address to interface %s of container %s: it has %v already; DEL frees it", e.Owner.IfName, e.Owner.ContainerID, addrsOf(have))
		}
		if err := s.makeRoom(t, len(pool.Sets), pool); err != nil {
			return s.explain(err)
		}
		if given, err = s.choose(t, pool, want, e); err != nil {
			return s.explain(err)
		}
		return s.take(t, given, e)
	})
	if err != nil {
		return nil, err
	}
	return given, nil
}

// choose finds addresses, and takes those of the dead back if it must.
func (s *Store) choose(t *table, pool Pool, want []netip.Addr, e Entry) ([]Assignment, error) {
	given, err := s.plan(t, pool, want, e)
	if !errors.Is(err, errdefs.ErrExhausted) {
		return given, err
	}
	reclaimed, freeErr := s.free(t, func(e Entry) bool { return !Alive(e) })
	if freeErr != nil || !reclaimed {
		return nil, errors.Join(err, freeErr)
	}
	return s.plan(t, pool, want, e)
}

// plan finds an address of each set, and changes nothing.
func (s *Store) plan(t *table, pool Pool, want []netip.Addr, e Entry) ([]Assignment, error) {
	now, err := s.uptime()
	if err != nil {
		return nil, err
	}
	p := &picker{t: t, pool: pool, now: now}
	var given []Assignment
	for i, set := range pool.Sets {
		asked, rest := takeWanted(set, want)
		want = rest
		a, err := p.pick(i, asked, e)
		if err != nil {
			return nil, err
		}
		given = append(given, a)
	}
	if len(want) > 0 {
		return nil, errdefs.Invalid("assign address %s: it is in none of the ranges, or another of its range was asked for too", want[0])
	}
	return given, nil
}

// take records the owner of addresses that were found. One that belongs to a dead owner takes all of that one's with it, before anything
// is recorded of the new one: what is half done must stay marked as such.
func (s *Store) take(t *table, given []Assignment, e Entry) error {
	fresh := 0
	for _, a := range given {
		old, known, err := t.at(a.Addr)
		if err == nil && known && !old.Free {
			_, err = s.free(t, func(other Entry) bool { return other.Owner == old.Owner })
		}
		if err != nil {
			return err
		}
		if !known {
			fresh++
		}
	}
	if err := t.reserve(fresh); err != nil {
		return err
	}
	e.Of = len(given)
	for i, a := range given {
		old, known, err := t.at(a.Addr)
		if err != nil {
			return err
		}
		if e.Addr = a.Addr; known {
			err = t.replace(old, e)
		} else {
			err = t.add(e)
		}
		if err != nil {
			return err
		}
		if a.searched && i < cursorsMax {
			for len(t.last) <= i {
				t.last = append(t.last, netip.Addr{})
			}
			t.last[i] = a.Addr
		}
	}
	return t.commit()
}

// Release frees the addresses of an owner. It is idempotent. In a damaged file nothing is changed; what is whole of it is GC's.
func (s *Store) Release(o Owner) error {
	return s.update(false, func(t *table, damage error) error {
		if damage != nil {
			//lint:ignore nilerr what GC repairs must not keep a container from being removed
			return nil
		}
		list, err := t.find(byOwner, o.key())
		if errors.Is(err, errdefs.ErrDataLoss) || err == nil && len(list) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		return s.freeAll(t, list)
	})
}

// free frees the addresses of owners, and tells whether there were any.
func (s *Store) free(t *table, which func(Entry) bool) (bool, error) {
	list, err := t.entries()
	if err != nil {
		return false, err
	}
	list = slices.DeleteFunc(list, func(f found) bool { return f.Free || !which(f.Entry) })
	if len(list) == 0 {
		return false, nil
	}
	return true, s.freeAll(t, list)
}

func (s *Store) freeAll(t *table, list []found) error {
	now, err := s.uptime()
	if err != nil {
		return err
	}
	for _, f := range list {
		e := f.Entry
		e.free(now)
		if err := t.replace(f, e); err != nil {
			return err
		}
	}
	return t.commit()
}

// GC frees the addresses of all owners but the valid ones. It makes the file anew, so that its index is right again whatever happened to
// it, and repairs a damaged one if what is left of that explains all valid owners. What cools down is kept in mind.
func (s *Store) GC(valid map[Owner]bool, cooldown time.Duration) error {
	return s.update(false, func(t *table, damage error) error {
		if damage != nil && !errors.Is(damage, errdefs.ErrDataLoss) {
			return s.explain(damage)
		}
		list, err := t.entries()
		if err == nil {
			err = damage
		}
		if errors.Is(err, errdefs.ErrDataLoss) {
			return s.salvage(list, valid, err)
		}
		if err != nil {
			return err
		}
		now, err := s.uptime()
		if err != nil {
			return err
		}
		for i := range list {
			if e := &list[i].Entry; !e.Free && !valid[e.Owner] {
				e.free(now)
			}
		}
		return s.remake(t, thin(list, now, cooldown), 0)
	})
}

// salvage makes a new file of what is whole of a damaged one, if that explains all valid owners.
func (s *Store) salvage(list []found, valid map[Owner]bool, damage error) error {
	seen, known := map[netip.Addr]bool{}, map[Owner]bool{}
	var kept []Entry
	for _, f := range list {
		if !f.Free && valid[f.Owner] && !seen[f.Addr] {
			seen[f.Addr], known[f.Owner] = true, true
			kept = append(kept, f.Entry)
		}
	}
	for o := range valid {
		if !known[o] {
			return s.explain(damage)
		}
	}
	return s.create(header{}, kept, 0)
}

// Of returns the addresses of an owner.
func (s *Store) Of(o Owner) (list []netip.Addr, err error) {
	err = s.update(false, func(t *table, damage error) error {
		if damage != nil {
			return s.explain(damage)
		}
		have, err := t.find(byOwner, o.key())
		list = addrsOf(have)
		return s.explain(err)
	})
	return list, err
}

func addrsOf(list []found) []netip.Addr {
	var addrs []netip.Addr
	for _, f := range slices.Backward(list) { // the newest stands first in a chain
		addrs = append(addrs, f.Addr)
	}
	return addrs
}

// Free returns an error when an attachment could not get its addresses.
func (s *Store) Free(pool Pool) error {
	return s.update(false, func(t *table, damage error) error {
		if damage != nil {
			return s.explain(damage)
		}
		_, err := s.choose(t, pool, nil, Entry{})
		return s.explain(err)
	})
}

// explain says of an error about the file itself what to do.
func (s *Store) explain(err error) error {
	if !errors.Is(err, errdefs.ErrDataLoss) && !errors.Is(err, errdefs.ErrNotSupported) {
		return err
	}
	return fmt.Errorf("allocations in %s can't be trusted: %w; when no container of the network runs, remove the file", s.path(), err)
}

// Alive tells whether the namespace of an entry's owner may still exist: only one whose path is gone, or leads to another
// namespace now, is surely dead.
func Alive(e Entry) bool {
	if e.Netns == "" || e.NS.Inode == 0 {
		return true
	}
	info, err := os.Stat(e.Netns)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Ino != e.NS.Inode {
		return false
	}
	return e.NS.Cookie == 0 || hasCookie(e.Netns, e.NS.Cookie)
}

// hasCookie tells whether a path may lead to the namespace with a cookie.
func hasCookie(path string, cookie uint64) bool {
	ns, err := netns.Open(path)
	if err != nil {
		return !errors.Is(err, errdefs.ErrNotFound) && !errors.Is(err, errdefs.ErrInvalid)
	}
	now, err := ns.Cookie()
	return errors.Join(err, ns.Close()) != nil || now == cookie
}
