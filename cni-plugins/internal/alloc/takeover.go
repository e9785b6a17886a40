package alloc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/containernetworking/cni/pkg/utils"

	"github.com/berth-runtime/berth/cni-plugins/internal/flock"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// The CNI project's host-local has a folder for each network, with a file for each address that is taken: its name is the address, its
// content the container's ID and, on a second line, the interface's name. The file lastPrefix + N holds the address found last in
// set N. Its processes exclude each other by a flock on the file "lock".
const (
	lastPrefix   = "last_reserved_ip."
	formerMax    = 4 << 10 // bytes of such a file
	formerIfName = "eth0"  // of releases before 0.8, which do not say

	// unknownID owns addresses whose file does not name anybody. It is no container's, so the next GC frees them.
	unknownID = "unknown"
)

// formerFiles lists the names of the addresses' files and of those with the last one; none if the folder does not exist.
func formerFiles(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // nothing that could be taken over
	}
	var names []string
	for _, e := range entries {
		_, err := netip.ParseAddr(e.Name())
		if e.Type().IsRegular() && (err == nil || strings.HasPrefix(e.Name(), lastPrefix)) {
			names = append(names, e.Name())
		}
	}
	return names
}

// takeOver makes the first file: of what the CNI project's host-local has recorded, which then goes, as an address has one owner. The
// file is in place before anything is removed, and once there is one nothing is taken over.
func (s *Store) takeOver() (err error) {
	names := formerFiles(s.former)
	if len(names) == 0 {
		return s.create(header{}, nil, 0)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	lock, err := os.OpenFile(filepath.Join(s.former, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("take over allocations: %w", err)
	}
	cu.Add(lock.Close)
	if err := flock.Wait(lock); err != nil {
		return fmt.Errorf("take over allocations: lock %s: %w", s.former, err)
	}
	if names = formerFiles(s.former); len(names) > slotsMost {
		return errdefs.New(errdefs.ErrExhausted, "take over allocations: %s holds more than %d", s.former, slotsMost)
	}
	var h header
	var entries []Entry
	for _, name := range names {
		data, err := readFormer(filepath.Join(s.former, name))
		if err != nil {
			return fmt.Errorf("take over allocations: %w", err)
		}
		if n, ok := strings.CutPrefix(name, lastPrefix); ok {
			h.noteLast(n, data)
		} else if e, ok := formerEntry(name, data); ok {
			entries = append(entries, e)
		}
	}
	count := map[Owner]int{}
	for _, e := range entries {
		count[e.Owner]++
	}
	for i := range entries {
		entries[i].Of = count[entries[i].Owner]
	}
	if err := s.create(h, entries, 0); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(s.former, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take over allocations: %w", err)
		}
	}
	return nil
}

func readFormer(path string) (_ string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, formerMax))
	return string(data), err
}

// formerEntry reads the file of an address. An empty one is what a crash has left before anybody was told of the address.
func formerEntry(name, data string) (Entry, bool) {
	addr, err := netip.ParseAddr(name)
	f := strings.Fields(data)
	if err != nil || addr.Zone() != "" || addr.Is4In6() || len(f) == 0 {
		return Entry{}, false
	}
	e := Entry{Addr: addr, Owner: Owner{ContainerID: f[0], IfName: formerIfName}}
	if len(f) > 1 {
		e.Owner.IfName = f[1]
	}
	if utils.ValidateContainerID(e.Owner.ContainerID) != nil || len(e.Owner.ContainerID) > MaxID || utils.ValidateInterfaceName(e.Owner.IfName) != nil {
		e.Owner = Owner{ContainerID: unknownID, IfName: formerIfName}
	}
	return e, true
}

// noteLast notes the address that was found last in a set.
func (h *header) noteLast(set, data string) {
	n, err := strconv.ParseUint(set, 10, 16)
	addr, addrErr := netip.ParseAddr(strings.TrimSpace(data))
	if err != nil || addrErr != nil || n >= cursorsMax || addr.Zone() != "" {
		return // the search then begins at the start of the set
	}
	for len(h.last) <= int(n) {
		h.last = append(h.last, netip.Addr{})
	}
	h.last[n] = addr.Unmap()
}
