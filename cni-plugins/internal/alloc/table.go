package alloc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// The file of a network:
//
//	header   one page: a line of text, see header
//	index    six arrays of 32-bit numbers, one number for each slot: the first slots of three sets of hash chains, then the slots after each
//	slots    lines of text, see entry.go; those up to header.used hold entries
//
// Entries are the truth, the index only says where they are. A change first marks the file, then writes entries and index, and takes
// the mark away with the header that makes the change valid. Who finds a mark knows that a process was killed, and makes a new file of
// the entries; so nothing has to be written in a certain order. Nothing is ever synced to a disk: the file is void after a reboot.
const (
	pageSize   = 4096
	markAt     = pageSize - 10 // before the header's checksum, and not part of what that is made of
	fileMagic  = "berth-allocations"
	fileFormat = "3"
	lastFormat = "2" // is read too, and becomes the newer one with the next change
	slotsLeast = 16
	slotsMost  = 1 << 18
	cursorsMax = 64 // sets whose last address is noted; the search in others begins at their start
)

// The chains: entries by address, taken ones by owner, and all by the pod that they are kept for.
const (
	byAddr = iota
	byOwner
	byPod
	chains
)

// storage is an open file.
type storage interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (os.FileInfo, error)
}

type header struct {
	boot        string
	slots, used uint32
	last        []netip.Addr // by index of the set: the address found last, from which the search goes on
}

// page encodes the header without the mark.
func (h header) page() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %d %d last", fileMagic, fileFormat, h.boot, h.slots, h.used)
	for _, a := range h.last {
		if a.IsValid() {
			b.WriteString(" " + a.String())
		} else {
			b.WriteString(" -")
		}
	}
	return slices.Insert(seal(fmt.Appendf(nil, "%-*s", markAt, b.String())), markAt, ' ')
}

// decodeHeader also says whether the page is marked. Of a damaged one it may tell the boot.
func decodeHeader(page []byte) (h header, marked bool, err error) {
	if len(page) != pageSize {
		return header{}, false, damaged("its first page is not whole")
	}
	text, ok := unseal(slices.Delete(slices.Clone(page), markAt, markAt+1))
	f := strings.Split(text, " ")
	if len(f) < 6 || f[0] != fileMagic || f[5] != "last" || len(f)-6 > cursorsMax {
		return header{}, false, damaged("it begins with %.80q", page)
	}
	if !ok {
		return header{boot: f[2]}, false, damaged("its first page is not what was written")
	}
	if f[1] != fileFormat && f[1] != lastFormat {
		return header{}, false, errdefs.New(errdefs.ErrNotSupported, "it has format %.20q, this program knows %s", f[1], fileFormat)
	}
	slots, slotsErr := strconv.ParseUint(f[3], 10, 32)
	used, usedErr := strconv.ParseUint(f[4], 10, 32)
	if slotsErr != nil || usedErr != nil || slots < slotsLeast || slots > slotsMost || used > slots {
		return header{}, false, damaged("it begins with %.80q", page)
	}
	h = header{boot: f[2], slots: uint32(slots), used: uint32(used)}
	for _, text := range f[6:] {
		a, err := netip.ParseAddr(text)
		if err != nil && text != "-" {
			return header{}, false, damaged("it begins with %.80q", page)
		}
		h.last = append(h.last, a)
	}
	return h, page[markAt] != ' ', nil
}

func (h header) headAt(chain int, bucket uint32) int64 {
	return pageSize + 4*(int64(chain)*int64(h.slots)+int64(bucket))
}

func (h header) nextAt(chain int, slot uint32) int64 {
	return pageSize + 4*(int64(chains+chain)*int64(h.slots)+int64(slot))
}

// slotsAt is at the page after the index, and there is at least one byte between.
func (h header) slotsAt() int64 {
	return (h.nextAt(chains, 0) + pageSize) / pageSize * pageSize
}

func (h header) slotAt(slot uint32) int64 { return h.slotsAt() + lineSize*int64(slot) }
func (h header) size() int64              { return h.slotAt(h.slots) }

func (h header) bucket(key string) uint32 {
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, key) // never fails
	return sum.Sum32() % h.slots
}

// key is what an entry is found by in a chain, "" if it is not in it.
func (e Entry) key(chain int) string {
	switch {
	case chain == byAddr:
		return e.Addr.String()
	case chain == byPod:
		return e.Pod
	case e.Free:
		return ""
	}
	return e.Owner.key()
}

func (o Owner) key() string { return o.ContainerID + " " + o.IfName }

// table is an open file. A slot is named by its number plus one, and 0 is none, as in the index.
type table struct {
	header
	f      storage
	marked bool
}

// openTable reads and checks the header. With an error of kind ErrDataLoss the table may be used for [table.entries] alone.
func openTable(f storage) (*table, error) {
	page := make([]byte, pageSize)
	n, err := f.ReadAt(page, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read allocations: %w", err)
	}
	h, marked, err := decodeHeader(page[:n])
	t := &table{header: h, f: f, marked: marked}
	if err != nil {
		return t, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read allocations: %w", err)
	}
	if info.Size() != h.size() {
		return t, damaged("it has %d bytes instead of %d", info.Size(), h.size())
	}
	return t, nil
}

func (t *table) word(at int64) (uint32, error) {
	var b [4]byte
	if _, err := t.f.ReadAt(b[:], at); err != nil {
		return 0, fmt.Errorf("read allocations: %w", err)
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

func (t *table) write(data []byte, at int64) error {
	if _, err := t.f.WriteAt(data, at); err != nil {
		return fmt.Errorf("record allocations: %w", err)
	}
	return nil
}

func (t *table) setWord(at int64, v uint32) error {
	return t.write(binary.LittleEndian.AppendUint32(nil, v), at)
}

func (t *table) entry(slot uint32) (Entry, error) {
	line := make([]byte, lineSize)
	if _, err := t.f.ReadAt(line, t.slotAt(slot-1)); err != nil {
		return Entry{}, fmt.Errorf("read allocations: %w", err)
	}
	return decodeEntry(line)
}

// found is an entry and where it is.
type found struct {
	Entry
	slot uint32
}

// find returns the entries with a key, by reading those of one hash chain.
func (t *table) find(chain int, key string) ([]found, error) {
	var list []found
	slot, err := t.word(t.headAt(chain, t.bucket(key)))
	for steps := uint32(0); err == nil && slot != 0; steps++ {
		if slot > t.used || steps == t.used {
			return nil, damaged("its index leads nowhere")
		}
		e, err := t.entry(slot)
		if err != nil {
			return nil, err
		}
		if e.key(chain) == key {
			list = append(list, found{e, slot})
		}
		if slot, err = t.word(t.nextAt(chain, slot-1)); err != nil {
			return nil, err
		}
	}
	return list, err
}

// at returns the entry of an address.
func (t *table) at(a netip.Addr) (f found, ok bool, err error) {
	list, err := t.find(byAddr, a.String())
	if err != nil || len(list) == 0 {
		return found{}, false, err
	}
	return list[0], true, nil
}

// begin marks the file: until commit, it is half changed.
func (t *table) begin() error {
	if t.marked {
		return nil
	}
	t.marked = true
	return t.write([]byte{'*'}, markAt)
}

// commit makes the changes since begin valid.
func (t *table) commit() error {
	t.marked = false
	return t.write(t.page(), 0)
}

// reserve writes to slots that are about to be used, so that a full disk is found out before anything is changed.
func (t *table) reserve(slots int) error {
	if slots == 0 {
		return nil
	}
	return t.write(make([]byte, lineSize*slots), t.slotAt(t.used))
}

// add puts an entry into a slot that is not used yet. There must be one.
func (t *table) add(e Entry) error {
	if t.used == t.slots {
		return errdefs.Bug("add an entry to a full table")
	}
	line, err := e.line()
	if err != nil {
		return err
	}
	if err := t.begin(); err != nil {
		return err
	}
	if err := t.write(line, t.slotAt(t.used)); err != nil {
		return err
	}
	t.used++
	for chain := range chains {
		if err := t.link(chain, t.used, e.key(chain)); err != nil {
			return err
		}
	}
	return nil
}

// replace puts an entry where another of the same address is.
func (t *table) replace(old found, e Entry) error {
	line, err := e.line()
	if err != nil {
		return err
	}
	if err := t.begin(); err != nil {
		return err
	}
	if err := t.write(line, t.slotAt(old.slot-1)); err != nil {
		return err
	}
	for chain := range chains {
		was, is := old.key(chain), e.key(chain)
		if was == is {
			continue
		}
		if err := t.unlink(chain, old.slot, was); err != nil {
			return err
		}
		if err := t.link(chain, old.slot, is); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) link(chain int, slot uint32, key string) error {
	if key == "" {
		return nil
	}
	head := t.headAt(chain, t.bucket(key))
	first, err := t.word(head)
	if err != nil {
		return err
	}
	return errors.Join(t.setWord(t.nextAt(chain, slot-1), first), t.setWord(head, slot))
}

func (t *table) unlink(chain int, slot uint32, key string) error {
	if key == "" {
		return nil
	}
	at := t.headAt(chain, t.bucket(key))
	for range t.used {
		next, err := t.word(at)
		if err != nil {
			return err
		}
		if next == slot {
			after, err := t.word(t.nextAt(chain, slot-1))
			if err != nil {
				return err
			}
			return t.setWord(at, after)
		}
		if next == 0 || next > t.used {
			break
		}
		at = t.nextAt(chain, next-1)
	}
	return damaged("its index lacks an entry")
}

// entries reads all of them. With an error of kind ErrDataLoss it returns those that are whole.
func (t *table) entries() ([]found, error) {
	info, err := t.f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read allocations: %w", err)
	}
	data := make([]byte, max(0, min(lineSize*int64(t.used), info.Size()-t.slotsAt())))
	n, err := t.f.ReadAt(data, t.slotsAt())
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read allocations: %w", err)
	}
	var list []found
	var damage error
	for i := range t.used {
		end := lineSize * (int(i) + 1)
		if end > n {
			return list, damaged("its end is missing")
		}
		e, err := decodeEntry(data[end-lineSize : end])
		if err != nil {
			damage = err
			continue
		}
		list = append(list, found{e, i + 1})
	}
	return list, damage
}

// image is a file with these entries, up to the end of the slots that they use, and its whole size.
func image(h header, entries []Entry) (data []byte, size int64, err error) {
	h.used = uint32(len(entries))
	data = make([]byte, h.slotsAt(), h.slotAt(h.used))
	copy(data, h.page())
	for i, e := range entries {
		line, err := e.line()
		if err != nil {
			return nil, 0, err
		}
		data = append(data, line...)
		for chain := range chains {
			if key := e.key(chain); key != "" {
				head := data[h.headAt(chain, h.bucket(key)):]
				copy(data[h.nextAt(chain, uint32(i)):], head[:4])
				binary.LittleEndian.PutUint32(head, uint32(i+1))
			}
		}
	}
	data[h.slotsAt()-1] = '\n' // so that each entry is a line for tools that read lines
	return data, h.size(), nil
}
