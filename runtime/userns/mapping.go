package userns

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Mapping maps Size IDs from ContainerID in the namespace to HostID in the one above it.
type Mapping struct{ ContainerID, HostID, Size uint32 }

// Mappings are those of users and of groups.
type Mappings struct{ UIDs, GIDs []Mapping }

const (
	maxMappings = 340  // lines of a map since Linux 4.15 (user_namespaces(7))
	maxMapBytes = 4095 // a map is written at once, and must be shorter than a page
)

// Check says what the kernel would not take. The prefix names the fields: "linux.", so that errors begin with
// "linux.uidMappings[0]: ".
func (m Mappings) Check(prefix string) error {
	if err := check(prefix+"uidMappings", m.UIDs); err != nil {
		return err
	}
	return check(prefix+"gidMappings", m.GIDs)
}

func check(field string, list []Mapping) error {
	if len(list) == 0 {
		return errdefs.Invalid("%s: no mapping", field)
	}
	if len(list) > maxMappings {
		return errdefs.Invalid("%s: %d mappings, the kernel takes %d", field, len(list), maxMappings)
	}
	for i, m := range list {
		if m.Size == 0 || uint64(m.ContainerID)+uint64(m.Size) > math.MaxUint32 || uint64(m.HostID)+uint64(m.Size) > math.MaxUint32 {
			return errdefs.Invalid("%s[%d]: %d IDs from %d to %d are none, or more than there are", field, i, m.Size, m.ContainerID, m.HostID)
		}
		for j, o := range list[:i] {
			if overlap(m.ContainerID, o.ContainerID, m.Size, o.Size) || overlap(m.HostID, o.HostID, m.Size, o.Size) {
				return errdefs.Invalid("%s[%d]: overlaps with %s[%d]", field, i, field, j)
			}
		}
	}
	if n := len(text(list)); n > maxMapBytes {
		return errdefs.Invalid("%s: %d bytes of map, the kernel takes %d", field, n, maxMapBytes)
	}
	return nil
}

func overlap(a, b, sizeA, sizeB uint32) bool {
	return uint64(a) < uint64(b)+uint64(sizeB) && uint64(b) < uint64(a)+uint64(sizeA)
}

// text is what is written to /proc/PID/uid_map.
func text(list []Mapping) []byte {
	var b bytes.Buffer
	for _, m := range list {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return b.Bytes()
}

// parse reads what the kernel shows in /proc/PID/uid_map.
func parse(data []byte) ([]Mapping, error) {
	var list []Mapping
	for line := range bytes.Lines(data) {
		f := bytes.Fields(line)
		if len(f) != 3 || len(list) == maxMappings {
			return nil, errdefs.Invalid("read ID map: line %d is %.40q", len(list)+1, line)
		}
		var n [3]uint32
		for i := range n {
			v, err := strconv.ParseUint(string(f[i]), 10, 32)
			if err != nil {
				return nil, errdefs.Invalid("read ID map: line %d: %w", len(list)+1, err)
			}
			n[i] = uint32(v)
		}
		list = append(list, Mapping{n[0], n[1], n[2]})
	}
	return list, nil
}

// Equal tells whether both map the same, in whatever order.
func (m Mappings) Equal(o Mappings) bool { return same(m.UIDs, o.UIDs) && same(m.GIDs, o.GIDs) }

func same(a, b []Mapping) bool {
	order := func(x, y Mapping) int { return int(int64(x.ContainerID) - int64(y.ContainerID)) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

// HostUID returns which user of the host one of the namespace is; ok is false if it is not mapped.
func (m Mappings) HostUID(id uint32) (host uint32, ok bool) { return toHost(m.UIDs, id) }

// HostGID is HostUID for groups.
func (m Mappings) HostGID(id uint32) (host uint32, ok bool) { return toHost(m.GIDs, id) }

func toHost(list []Mapping, id uint32) (host uint32, ok bool) {
	for _, m := range list {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}
