package ports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/berth-runtime/berth/cni-plugins/internal/bounded"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// chosenMax bounds a record, in bytes.
const chosenMax = 8 << 20

// chosen is the record of an attachment: all its ports, as the capability writes them. It is there before they are published and goes
// after them, so that they come back the same when somebody flushes the firewall.
type chosen struct {
	PortMappings []Mapping `json:"portMappings"`
}

func (c Chooser) path(o nft.Owner) string {
	return filepath.Join(c.Dir, o.Network, o.ContainerID+":"+o.IfName+".json") // none of them may hold a colon or slash
}

// save writes down what was chosen.
func (c Chooser) save(o nft.Owner, plan []nft.Port) error {
	var rec chosen
	for _, p := range plan {
		rec.PortMappings = append(rec.PortMappings, Mapping{
			HostPort: int(p.Host.Port()), ContainerPort: int(p.Pod.Port()), Protocol: p.Protocol.String(), HostIP: p.Host.Addr().String(),
		})
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return errdefs.Bug("encode chosen ports: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.path(o)), 0o700); err != nil {
		return fmt.Errorf("write chosen ports down: %w", err)
	}
	return atomicfile.Write(c.path(o), append(data, '\n'), 0o600)
}

// Recall fills in the ports that were chosen for an owner. Without a record it gives an error of kind ErrNotFound.
func (c Chooser) Recall(o nft.Owner, plan []nft.Port) ([]nft.Port, error) {
	if !slices.ContainsFunc(plan, open) {
		return plan, nil
	}
	data, err := bounded.Record(c.path(o), chosenMax)
	if absent(err) {
		return nil, errdefs.NotFound("no host ports are chosen for %s", o)
	}
	if err != nil {
		return nil, fmt.Errorf("read chosen ports: %w", err)
	}
	rec, err := decodeChosen(data)
	if err != nil {
		return nil, errdefs.New(errdefs.ErrDataLoss, "read chosen ports: %s is damaged: %w", c.path(o), err)
	}
	return fillIn(plan, rec)
}

// decodeChosen reads a record; what it says is checked like a configuration.
func decodeChosen(data []byte) ([]nft.Port, error) {
	var rec chosen
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, err
	}
	both := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} // the pod's, which the record does not say
	return Plan(rec.PortMappings, both, false)
}

func fillIn(plan, rec []nft.Port) ([]nft.Port, error) {
	out := slices.Clone(plan)
	for i, p := range out {
		if !open(p) {
			continue
		}
		n := slices.IndexFunc(rec, func(r nft.Port) bool {
			return r.Protocol == p.Protocol && r.Host.Addr() == p.Host.Addr() && r.Pod.Port() == p.Pod.Port()
		})
		if n < 0 {
			return nil, errdefs.NotFound("no host port is chosen for port %d/%s of the container", p.Pod.Port(), p.Protocol)
		}
		out[i].Host = rec[n].Host
	}
	return out, nil
}

// forget removes a record, if there is one.
func (c Chooser) forget(o nft.Owner) error {
	if err := os.Remove(c.path(o)); err != nil && !absent(err) {
		return fmt.Errorf("forget chosen ports: %w", err)
	}
	return nil
}

// absent tells whether a file is known not to be there, be it that no file can have its name.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG)
}

// collect removes a network's records but those of the valid owners, and what a killed ADD left half written. GC runs alone.
func (c Chooser) collect(network string, valid []nft.Owner) error {
	dir := filepath.Join(c.Dir, network)
	entries, err := os.ReadDir(dir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list chosen ports: %w", err)
	}
	keep := map[string]bool{}
	for _, o := range valid {
		keep[filepath.Base(c.path(o))] = true
	}
	var errs []error
	left := 0
	for _, e := range entries {
		if keep[e.Name()] {
			left++
		} else {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if left == 0 && errors.Join(errs...) == nil {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}
