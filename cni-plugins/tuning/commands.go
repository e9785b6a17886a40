package main

import (
	"errors"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// add is ADD. On an error everything is as before.
func add(r *plugin.Request) (result *current.Result, err error) {
	conf, err := parseConfig(r.Config, r.Args, r.IfName)
	if err != nil {
		return nil, err
	}
	if r.Config.Prev == nil {
		return nil, errdefs.Invalid("tuning must stand after another plugin in the chain: there is no prevResult")
	}
	if err := checkAllowed(conf.Want.Sysctls); err != nil {
		return nil, err
	}
	t := target{r.NS, r.IfName}
	before, err := t.read(conf.Want)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil, errdefs.Invalid("the container has no interface %s; put tuning after the plugin that makes it", r.IfName)
	}
	if err != nil {
		return nil, err
	}
	undo := cleanup.Make(&err)
	defer undo.Clean()
	if err := remember(r, conf, before, undo); err != nil {
		return nil, err
	}
	undo.Add(func() error { return t.restore(before) })
	if err := t.write(conf.Want); err != nil {
		return nil, err
	}
	undo.Release()
	return complete(r, conf.Want), nil
}

// remember writes the record, so that DEL can do its work whatever becomes of this process.
func remember(r *plugin.Request, conf config, before values, undo *cleanup.Stack) error {
	f := folderOf(conf.DataDir, r.Config.Name)
	namespace, err := identify(r.NS)
	if err != nil {
		return err
	}
	earlier, err := f.load(r, namespace)
	if err != nil {
		return err
	}
	rec := record{Namespace: namespace, Before: before}
	if earlier != nil {
		rec.Before = earliest(before, earlier.Before)
	}
	if err := f.save(r, rec); err != nil {
		return err
	}
	undo.Add(func() error {
		if earlier != nil {
			return f.save(r, *earlier)
		}
		return f.remove(r)
	})
	return nil
}

// complete puts what changed into the result of the plugins before.
func complete(r *plugin.Request, want values) *current.Result {
	for _, l := range r.Config.Prev.Interfaces {
		if l.Name != r.IfName || l.Sandbox == "" {
			continue
		}
		if want.MAC != "" {
			l.Mac = want.MAC
		}
		if want.MTU != 0 {
			l.Mtu = want.MTU
		}
	}
	return r.Config.Prev
}

// del is DEL: what was before ADD comes back, as far as the namespace is still there. A value that can't be set back is no reason to hold
// up the end of a container, so it is told on stderr.
func del(r *plugin.Request) error {
	f := folderOf(dataDirOf(r.Config.Raw), r.Config.Name)
	if r.NS != nil {
		namespace, err := identify(r.NS)
		if err != nil {
			return err
		}
		rec, err := f.load(r, namespace)
		switch {
		case errors.Is(err, errdefs.ErrDataLoss):
			r.Warn("%v", err)
		case err != nil:
			return err
		case rec != nil:
			if err := (target{r.NS, r.IfName}).restore(rec.Before); err != nil {
				r.Warn("put values of before ADD back: %v", err)
			}
		}
	}
	return f.remove(r)
}

// check is CHECK: does the configuration still hold?
func check(r *plugin.Request) error {
	conf, err := parseConfig(r.Config, r.Args, r.IfName)
	if err != nil {
		return err
	}
	t := target{r.NS, r.IfName}
	now, err := t.read(conf.Want)
	if errors.Is(err, errdefs.ErrNotFound) {
		return plugin.Mismatch("interface %s is gone", r.IfName)
	}
	if err != nil {
		return err
	}
	return t.compare(conf.Want, now)
}

// gc is GC. What it removes belongs to namespaces that are gone or were given up.
func gc(r *plugin.Request) error {
	return folderOf(dataDirOf(r.Config.Raw), r.Config.Name).collect(r.Config.Valid)
}

// status is STATUS: can the configuration be used?
func status(r *plugin.Request) error {
	conf, err := parseConfig(r.Config, r.Args, "eth0")
	if err != nil {
		return err
	}
	return checkAllowed(conf.Want.Sysctls)
}
