package main

import (
	"errors"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// add is ADD. The result is that of the plugin before. On an error everything is as before.
func add(r *plugin.Request) (result *current.Result, err error) {
	conf, err := parseConfig(r.Config.Raw)
	if err != nil {
		return nil, err
	}
	if r.Config.Prev == nil {
		return nil, errdefs.Invalid("firewall must stand after another plugin in the chain: there is no prevResult")
	}
	if conf.Foreign != "" {
		r.Warn("network %s: backend %s: this plugin always writes nftables, into table inet berth", r.Config.Name, conf.Foreign)
	}
	err = nft.With(func(fw *nft.Firewall) error {
		if err := warnOfOthers(r, fw); err != nil || conf.Policy == open {
			return err
		}
		return link.WithHost(func(h *netlink.Handle) error { return enclose(r, conf, fw, h) })
	})
	return r.Config.Prev, err
}

// warnOfOthers names chains that drop what they do not know. With iptables as backend, the CNI project's plugin would add the container
// to such a chain.
func warnOfOthers(r *plugin.Request, fw *nft.Firewall) error {
	behind := r.IfName
	if i := slices.IndexFunc(r.Config.Prev.Interfaces, func(l *current.Interface) bool { return l.Sandbox == "" }); i >= 0 {
		behind = r.Config.Prev.Interfaces[i].Name // the bridge, or the end of ptp
	}
	text, err := fw.Obstacle(behind)
	if text != "" {
		r.Warn("network %s: %s", r.Config.Name, text)
	}
	return err
}

// enclose builds the wall, and for isolated containers cuts the bridge port off too: what a bridge passes on by itself, no rule sees.
func enclose(r *plugin.Request, conf config, fw *nft.Firewall, h *netlink.Handle) (err error) {
	p, err := locate(r, conf, h)
	if err != nil {
		return err
	}
	undo := cleanup.Make(&err)
	defer undo.Clean()
	undo.Add(func() error { return fw.Unwall(p.wall.Owner) })
	if err := fw.Wall(p.wall); err != nil {
		return err
	}
	if p.port != nil {
		if err := link.SetIsolated(h, p.port, true); err != nil {
			return err
		}
	}
	undo.Release()
	return nil
}

// place is where a container is: behind a wall, and, if it must be cut off from its bridge, at a port.
type place struct {
	wall nft.Wall
	port netlink.Link
}

func locate(r *plugin.Request, conf config, h *netlink.Handle) (place, error) {
	p := place{wall: nft.Wall{Owner: owner(r), Addrs: r.PrevAddrs(), Isolated: conf.Policy == isolated}}
	if len(p.wall.Addrs) == 0 {
		return place{}, errdefs.Invalid("prevResult has no address of interface %s; put firewall after the plugin that makes it", r.IfName)
	}
	end, err := link.HostEnd(h, r.NS.Netlink(), r.IfName)
	if err != nil {
		return place{}, err
	}
	if p.wall.Link, err = link.Behind(h, end); err != nil {
		return place{}, err
	}
	if p.wall.Isolated && end.Attrs().MasterIndex != 0 {
		p.port = end
	}
	return p, nil
}

// del is DEL. It needs nothing but the names of the attachment. The port of an isolated container goes with its link.
func del(r *plugin.Request) error {
	return nft.With(func(fw *nft.Firewall) error { return fw.Unwall(owner(r)) })
}

func check(r *plugin.Request) error {
	conf, err := parseConfig(r.Config.Raw)
	if err != nil || conf.Policy == open {
		return err
	}
	return link.WithHost(func(h *netlink.Handle) error {
		p, err := locate(r, conf, h)
		if errors.Is(err, errdefs.ErrNotFound) {
			return plugin.Mismatch("interface %s is gone", r.IfName)
		}
		if err != nil {
			return err
		}
		if p.port != nil {
			if cut, err := link.IsIsolated(h, p.port); err != nil || !cut {
				return errors.Join(err, plugin.Mismatch("bridge port %s is not isolated", p.port.Attrs().Name))
			}
		}
		err = nft.With(func(fw *nft.Firewall) error {
			if r.Repair {
				fw.Distrust()
				if err := fw.Wall(p.wall); err != nil {
					return err
				}
			}
			return fw.CheckWall(p.wall)
		})
		if errors.Is(err, errdefs.ErrNotFound) {
			return plugin.Mismatch("%w", err)
		}
		return err
	})
}

// gc is GC.
func gc(r *plugin.Request) error {
	var valid []nft.Owner
	for _, a := range r.Config.Valid {
		valid = append(valid, nft.Owner{Network: r.Config.Name, ContainerID: a.ContainerID, IfName: a.IfName})
	}
	return nft.With(func(fw *nft.Firewall) error { return fw.CollectWalls(r.Config.Name, valid) })
}

// status is STATUS: can the configuration be used, and the firewall be read?
func status(r *plugin.Request) error {
	if _, err := parseConfig(r.Config.Raw); err != nil {
		return err
	}
	return nft.With((*nft.Firewall).Probe)
}

func owner(r *plugin.Request) nft.Owner {
	return nft.Owner{Network: r.Config.Name, ContainerID: r.ContainerID, IfName: r.IfName}
}
