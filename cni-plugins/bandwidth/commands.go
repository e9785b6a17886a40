package main

import (
	"errors"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func ifbName(r *plugin.Request) string { return link.IfbName(r.Config.Name, r.ContainerID, r.IfName) }

// add is ADD. On an error everything is as before.
func add(r *plugin.Request) (*current.Result, error) {
	conf, err := parseConfig(r.Config.Raw)
	if err != nil {
		return nil, err
	}
	if r.Config.Prev == nil {
		return nil, errdefs.Invalid("bandwidth must stand after another plugin in the chain: there is no prevResult")
	}
	if conf.none() {
		return r.Config.Prev, nil
	}
	err = link.WithHost(func(h *netlink.Handle) error { return limit(r, conf, h) })
	return r.Config.Prev, err
}

// limit makes the queues. The ifb link goes into the result.
func limit(r *plugin.Request, conf config, h *netlink.Handle) (err error) {
	end, err := link.HostEnd(h, r.NS.Netlink(), r.IfName)
	if errors.Is(err, errdefs.ErrNotFound) {
		return errdefs.Invalid("the container has no interface %s; put bandwidth after the plugin that makes it", r.IfName)
	}
	if err != nil {
		return err
	}
	undo := cleanup.Make(&err)
	defer undo.Clean()
	if conf.Ingress.Rate > 0 {
		undo.Add(func() error { return link.StopShaping(h, end) })
		if err := link.ShapeSent(h, end, conf.Ingress); err != nil {
			return err
		}
	}
	if conf.Egress.Rate > 0 {
		undo.Add(func() error { return link.Remove(h, ifbName(r)) })
		ifb, err := link.AddIfb(h, ifbName(r), end.Attrs().MTU)
		if err != nil {
			return err
		}
		undo.Add(func() error { return link.StopDiverting(h, end) })
		if err := link.Divert(h, end, ifb, conf.Egress); err != nil {
			return err
		}
		r.Config.Prev.Interfaces = append(r.Config.Prev.Interfaces, &current.Interface{
			Name: ifb.Attrs().Name, Mac: ifb.Attrs().HardwareAddr.String(), Mtu: ifb.Attrs().MTU,
		})
	}
	undo.Release()
	return nil
}

// del is DEL. The ifb link is found by its name; the queues are on the host's end of the pair, and are gone if that is.
func del(r *plugin.Request) error {
	return link.WithHost(func(h *netlink.Handle) error {
		return errors.Join(stop(r, h), link.Remove(h, ifbName(r)))
	})
}

func stop(r *plugin.Request, h *netlink.Handle) error {
	if r.NS == nil {
		return nil
	}
	end, err := link.HostEnd(h, r.NS.Netlink(), r.IfName)
	if errors.Is(err, errdefs.ErrNotFound) || errors.Is(err, errdefs.ErrInvalid) {
		return nil
	}
	if err != nil {
		return err
	}
	if conf, err := parseConfig(r.Config.Raw); err == nil && !conf.none() {
		return errors.Join(link.StopDiverting(h, end), link.StopShaping(h, end))
	}
	return nil // it limited nothing, or, if the configuration has changed, what it made goes with the link
}

func check(r *plugin.Request) error {
	conf, err := parseConfig(r.Config.Raw)
	if err != nil || conf.none() {
		return err
	}
	return link.WithHost(func(h *netlink.Handle) error {
		end, err := link.HostEnd(h, r.NS.Netlink(), r.IfName)
		if errors.Is(err, errdefs.ErrNotFound) {
			return plugin.Mismatch("interface %s is gone", r.IfName)
		}
		if err != nil {
			return err
		}
		if conf.Ingress.Rate > 0 {
			if ok, err := link.HasShapeSent(h, end, conf.Ingress); err != nil || !ok {
				return mismatchOr(err, "host link %s lacks the limit of what the container receives", end.Attrs().Name)
			}
		}
		if conf.Egress.Rate == 0 {
			return nil
		}
		ifb, err := link.Find(h, ifbName(r))
		if errors.Is(err, errdefs.ErrNotFound) {
			return plugin.Mismatch("link %s, which limits what the container sends, is gone", ifbName(r))
		}
		if err != nil {
			return err
		}
		if ok, err := link.HasDiverted(h, end, ifb, conf.Egress); err != nil || !ok || !link.IsUp(ifb) {
			return mismatchOr(err, "host link %s lacks the limit of what the container sends", end.Attrs().Name)
		}
		return nil
	})
}

func mismatchOr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return plugin.Mismatch(format, args...)
}

// gc is GC. Queues go with the links that they are on; ifb links are nobody's, so they stay until somebody deletes them.
func gc(r *plugin.Request) error {
	var names []string
	for _, a := range r.Config.Valid {
		names = append(names, link.IfbName(r.Config.Name, a.ContainerID, a.IfName))
	}
	return link.WithHost(func(h *netlink.Handle) error { return link.ReapIfbs(h, r.Config.Name, names) })
}

// status is STATUS: can the configuration be used?
func status(r *plugin.Request) error {
	_, err := parseConfig(r.Config.Raw)
	return err
}
