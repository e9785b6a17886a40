package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/flock"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// Firewall gives access to the table. It is not for concurrent use.
type Firewall struct {
	dumper  *dumper
	conn    *nftables.Conn // for changes; see connect
	socket  *netlink.Conn  // that of conn
	obj     *objects
	rewrite bool // Add and Wall write the rules in any case
	fresh   bool
}

// Open gives access to the nftables of the calling process's network namespace. Nothing is written yet.
func Open() (*Firewall, error) {
	d, err := newDumper()
	if err != nil {
		return nil, fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	return &Firewall{dumper: d, obj: newObjects()}, nil
}

// connect makes the connection that changes need.
func (f *Firewall) connect() (err error) {
	if f.conn != nil {
		return nil
	}
	remember := func(c *netlink.Conn) error { f.socket = c; return nil }
	if f.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(remember)); err != nil {
		return fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	return nil
}

// Distrust has Add and Wall write all rules, also when the table looks as if it had them: others may have taken out single ones.
func (f *Firewall) Distrust() { f.rewrite = true }

// Fresh tells whether Add or Wall wrote rules, which is so for the first attachment of a host, for the first that needs some part of the table, and
// after others flushed it.
func (f *Firewall) Fresh() bool { return f.fresh }

// Close closes the connection. It waits for nothing; see the package's text.
func (f *Firewall) Close() error {
	if f.conn == nil {
		return closeLater(f.dumper.close, f.dumper.fd)
	}
	closeBoth := func() error { return errors.Join(f.dumper.close(), f.conn.CloseLasting()) }
	fd, err := descriptor(f.socket)
	if err != nil {
		return errors.Join(err, closeBoth())
	}
	return closeLater(closeBoth, f.dumper.fd, fd)
}

// With calls f with a connection, and closes it last.
func With(f func(*Firewall) error) (err error) {
	fw, err := Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fw.Close()) }()
	return f(fw)
}

// Add brings what the attachment needs into the table, as far as it is not there. A port that another owner has published gives
// an error of kind ErrExists that names both.
func (f *Firewall) Add(a Attachment) error {
	if err := errors.Join(a.validate(), a.checkLoopback6()); err != nil {
		return err
	}
	return locked(func() error {
		needed := elements(f.obj, a)
		kept := of(needed)
		now, err := f.read(func(s *nftables.Set) bool { return kept(s) || len(a.Ports) > 0 && s.IsMap }, matter(f.obj, needed, a))
		if err != nil {
			return err
		}
		if err := now.checkPorts(a); err != nil {
			return err
		}
		if err := f.adopt(now); err != nil {
			return err
		}
		if err := f.write(now, f.partsFor(a, now), now.missing(needed), a.Owner); err != nil {
			return err
		}
		return allowLoopback(a)
	})
}

// write adds elements to parts of the table, and the parts if they are not there as they should.
func (f *Firewall) write(now *content, parts []part, missing []element, o Owner) error {
	stale := slices.DeleteFunc(parts, func(p part) bool { return now.current[p.marker] && !f.rewrite })
	if len(stale) == 0 && len(missing) == 0 {
		return nil
	}
	if err := f.connect(); err != nil {
		return err
	}
	f.fresh = f.fresh || len(stale) > 0
	var errs []error
	for _, p := range stale {
		errs = append(errs, f.obj.write(f.conn, p, now.present))
	}
	errs = append(errs, inChunks(missing, f.conn.SetAddElements))
	if err := errors.Join(errs...); err != nil {
		return errdefs.Bug("encode nft table: %w", err)
	}
	if err := f.flush(len(missing)); err != nil {
		return fmt.Errorf("write nft table %s for %s: %w", tableName, o, err)
	}
	return nil
}

// Remove takes away what Add made for an owner and returns the ports that were published for it. It is idempotent.
func (f *Firewall) Remove(owner Owner) ([]Port, error) {
	return f.remove(func(e element) bool { return !f.obj.isWalled(e.set) && e.owner == owner.shortened() }, nil)
}

// Collect takes away what Add made in a network for all but the valid owners, and the links that idle says have no pods. It returns
// the ports that were published.
func (f *Firewall) Collect(network string, valid []Owner, idle func(link string) bool) ([]Port, error) {
	stale := staleIn(network, valid)
	return f.remove(func(e element) bool { return !f.obj.isWalled(e.set) && stale(e.owner) }, idle)
}

// staleIn tells the owners of a network that are not valid.
func staleIn(network string, valid []Owner) func(Owner) bool {
	keep := map[Owner]bool{}
	for _, o := range valid {
		keep[o.shortened()] = true
	}
	network = short(network)
	return func(o Owner) bool { return o.Network == network && !keep[o] }
}

// Check returns an error of kind ErrNotFound if the table lacks something that the attachment needs.
func (f *Firewall) Check(a Attachment) error {
	return locked(func() error {
		needed := elements(f.obj, a)
		now, err := f.read(of(needed), matter(f.obj, needed, a))
		if err != nil {
			return err
		}
		return now.lacks(f.partsFor(a, now), needed, a.Owner)
	})
}

// lacks returns an error of kind ErrNotFound if a part of the table, or an element in it, is missing.
func (now *content) lacks(parts []part, needed []element, o Owner) error {
	missing, old := now.missing(needed), func(p part) bool { return !now.current[p.marker] }
	if len(missing) > 0 || slices.ContainsFunc(parts, old) {
		return errdefs.NotFound("nft table %s lacks %d elements for %s", tableName, len(missing), o)
	}
	return nil
}

// Taken are the ports that others than an owner have published.
func (f *Firewall) Taken(except Owner) (Taken, error) {
	var now *content
	err := locked(func() (err error) {
		now, err = f.read(func(s *nftables.Set) bool { return s.IsMap }, all)
		return err
	})
	if err != nil {
		return nil, err
	}
	taken := Taken{}
	for _, e := range now.elements {
		if p, ok := e.port(); ok && e.owner != except.shortened() {
			taken.Add(p)
		}
	}
	return taken, nil
}

// Probe returns an error if the kernel's nftables can't be used.
func (f *Firewall) Probe() error {
	_, err := f.read(func(*nftables.Set) bool { return false }, all)
	return err
}

// remove takes away the owned elements to drop. If that makes a transaction anyway, or if idle is given, links that
// are gone or idle go too.
func (f *Firewall) remove(drop func(element) bool, idle func(string) bool) (ports []Port, err error) {
	err = locked(func() error {
		goes := func(e element) bool { return e.owner != Owner{} && drop(e) }
		now, err := f.read(f.obj.isOwned, func(e element) bool { return e.set == f.obj.local || goes(e) })
		if err != nil {
			return err
		}
		var dropped []element
		for _, e := range now.elements {
			if goes(e) {
				dropped = append(dropped, e)
			}
		}
		if !now.exists || len(dropped) == 0 && idle == nil {
			return nil
		}
		if err := f.fill(now, everything, all); err != nil {
			return err
		}
		ports = portsOf(dropped)
		ofLinks, err := now.unused(idle)
		if err != nil {
			return err
		}
		if err := now.leaveLoopback(f.obj.local, dropped); err != nil {
			return err
		}
		return f.erase(now, slices.Concat(dropped, ofLinks))
	})
	return ports, err
}

// erase deletes elements, or the whole table when nothing is left in it.
func (f *Firewall) erase(now *content, list []element) error {
	total := len(now.elements) + now.passed
	if len(list) == 0 && total > 0 {
		return nil
	}
	if err := f.connect(); err != nil {
		return err
	}
	if len(list) == total {
		f.conn.DelTable(f.obj.table)
	} else if err := f.delete(list); err != nil {
		return err
	}
	if err := f.flush(len(list)); err != nil {
		return fmt.Errorf("remove from nft table %s: %w", tableName, err)
	}
	return nil
}

// delete adds the deletion of elements to the batch.
func (f *Firewall) delete(list []element) error {
	bare := make([]element, 0, len(list))
	for _, e := range list {
		bare = append(bare, element{set: e.set, raw: nftables.SetElement{Key: e.raw.Key, KeyEnd: e.raw.KeyEnd}})
	}
	if err := f.connect(); err != nil {
		return err
	}
	if err := inChunks(bare, f.conn.SetDeleteElements); err != nil {
		return errdefs.Bug("encode nft table: %w", err)
	}
	return nil
}

// locked calls f while no other process changes the table.
func locked(f func() error) (err error) {
	lock, err := netns.Own()
	if err != nil {
		return fmt.Errorf("lock nft table %s: %w", tableName, err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(lock.Close)
	if err := flock.Wait(lock); err != nil {
		return fmt.Errorf("lock nft table %s: %w", tableName, err)
	}
	return f()
}
