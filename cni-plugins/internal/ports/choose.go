package ports

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Chooser picks host ports for mappings that leave it open (hostPort 0). The zero Chooser, and one without a span, refuses these.
type Chooser struct {
	First, Last uint16 // both included; 0 = no span
	Dir         string // of the records of what was chosen, by network
}

// ParseChooser reads a span like "32768-60999", "" for none. dataDir is the folder of the plugins' records.
func ParseChooser(span, dataDir string) (Chooser, error) {
	c := Records(dataDir)
	if span == "" {
		return c, nil
	}
	first, last, _ := strings.Cut(span, "-")
	f, err1 := strconv.ParseUint(first, 10, 16)
	l, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || f == 0 || f > l {
		return Chooser{}, errdefs.Invalid("autoHostPorts %.50q is no span of ports like 32768-60999", span)
	}
	c.First, c.Last = uint16(f), uint16(l)
	return c, nil
}

// Records is a Chooser that only knows what was chosen, for DEL and GC.
func Records(dataDir string) Chooser { return Chooser{Dir: filepath.Join(dataDir, "ports")} }

// open tells whether a port is still to be chosen.
func open(p nft.Port) bool { return p.Host.Port() == 0 }

// choose gives each open port one that nobody has: the same for both families, and for one attachment always the same as long as it is free.
func (c Chooser) choose(f *nft.Firewall, a nft.Attachment) ([]nft.Port, error) {
	taken, err := f.Taken(a.Owner)
	if err != nil {
		return nil, err
	}
	plan := make([]nft.Port, len(a.Ports))
	copy(plan, a.Ports)
	for _, p := range plan {
		if !open(p) {
			taken.Add(p)
		}
	}
	for i := range plan {
		if !open(plan[i]) {
			continue
		}
		same := func(p nft.Port) bool {
			return open(p) && p.Protocol == plan[i].Protocol && p.Pod.Port() == plan[i].Pod.Port()
		}
		var group []int
		for n, p := range plan {
			if same(p) {
				group = append(group, n)
			}
		}
		if err := c.chooseOne(a.Owner, plan, group, taken); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// chooseOne finds one host port for the members of plan in group.
func (c Chooser) chooseOne(o nft.Owner, plan []nft.Port, group []int, taken nft.Taken) error {
	size := uint32(c.Last) - uint32(c.First) + 1
	h := fnv.New32a()
	fmt.Fprint(h, o, plan[group[0]].Protocol, plan[group[0]].Pod.Port())
	start := h.Sum32() % size
	for i := range size {
		port := c.First + uint16((start+i)%size)
		var chosen []nft.Port
		free := true
		for _, n := range group {
			p := plan[n]
			p.Host = netip.AddrPortFrom(p.Host.Addr(), port)
			if _, conflict := taken.Find(p); conflict {
				free = false
				break
			}
			chosen = append(chosen, p)
		}
		if !free {
			continue
		}
		err := checkListeners(chosen)
		if errors.Is(err, errdefs.ErrExists) {
			continue
		}
		if err != nil {
			return err
		}
		for i, n := range group {
			plan[n] = chosen[i]
			taken.Add(chosen[i])
		}
		return nil
	}
	return errdefs.Unavailable("choose a host port for port %d of the container: all from %d to %d are taken", plan[group[0]].Pod.Port(), c.First, c.Last)
}
