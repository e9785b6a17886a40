package main

import (
	"errors"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// add is ADD. The result is that of the plugin before.
func add(r *plugin.Request) (result *current.Result, err error) {
	c, a, err := prepare(r)
	if err != nil {
		return nil, err
	}
	if len(a.Ports) == 0 {
		return r.Config.Prev, nil
	}
	err = nft.With(func(fw *nft.Firewall) (err error) {
		cu := cleanup.Make(&err)
		defer cu.Clean()
		cu.Add(func() error { return ports.Withdraw(fw, c.Chooser, a.Owner) })
		published, err := ports.Publish(fw, c.Chooser, a)
		if err != nil {
			return err
		}
		ports.Tell(r, a.Ports, published)
		cu.Release()
		return nil
	})
	return r.Config.Prev, err
}

// prepare parses, plans and looks up the link towards the container.
func prepare(r *plugin.Request) (config, nft.Attachment, error) {
	c, err := parseConfig(r.Config)
	if err != nil {
		return config{}, nft.Attachment{}, err
	}
	if r.Config.Prev == nil {
		return config{}, nft.Attachment{}, errdefs.Invalid("portmap must stand after another plugin in the chain: there is no prevResult")
	}
	if len(c.Mappings) == 0 {
		return c, nft.Attachment{}, nil
	}
	a, err := buildPlan(c, r)
	if err != nil {
		return config{}, nft.Attachment{}, err
	}
	host, err := netns.Current()
	if err != nil {
		return config{}, nft.Attachment{}, err
	}
	a.Link, err = link.Towards(host.Netlink(), a.Ports[0].Pod.Addr())
	return c, a, errors.Join(err, host.Close())
}

// del is DEL. It needs nothing but the names of the attachment, and the folder of records.
func del(r *plugin.Request) error {
	dir, _ := r.Config.DataDir()
	return nft.With(func(fw *nft.Firewall) error { return ports.Withdraw(fw, ports.Records(dir), firewallOwner(r)) })
}

func check(r *plugin.Request) error {
	c, a, err := prepare(r)
	if err != nil || len(a.Ports) == 0 {
		return err
	}
	if a.Ports, err = c.Chooser.Recall(a.Owner, a.Ports); err != nil {
		return mismatch(err)
	}
	err = nft.With(func(fw *nft.Firewall) error {
		if r.Repair {
			fw.Distrust()
			if _, err := ports.Publish(fw, c.Chooser, a); err != nil {
				return err
			}
		}
		return fw.Check(a)
	})
	return mismatch(err)
}

// mismatch is CHECK's error for what is missing.
func mismatch(err error) error {
	if errors.Is(err, errdefs.ErrNotFound) {
		return plugin.Mismatch("%w", err)
	}
	return err
}

// gc is GC. Links are the business of the plugins that made them; those that are gone are forgotten.
func gc(r *plugin.Request) error {
	dir, err := r.Config.DataDir()
	if err != nil {
		return err
	}
	never := func(string) bool { return false }
	return nft.With(func(fw *nft.Firewall) error {
		return ports.Collect(fw, ports.Records(dir), r.Config.Name, r.Config.Valid, never)
	})
}

// status is STATUS: can the configuration be used, and the firewall be read?
func status(r *plugin.Request) error {
	if _, err := parseConfig(r.Config); err != nil {
		return err
	}
	return nft.With((*nft.Firewall).Probe)
}
