package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// exhausted are the details of the error with which berth's plugins say that all addresses are taken; code 50 alone does not tell
// that from what is broken.
const exhausted = "addresses exhausted"

// Status returns as problem why no pod could be attached now: no network, a broken configuration, a missing plugin, or what a
// plugin's STATUS says (CNI 1.1). It is nil if only addresses are missing, which full says: that ends with the next pod that goes, and
// a node that is not ready would lose its pods for it.
func (n *Network) Status(ctx context.Context) (problem, full error) {
	list, err := n.podNetwork(ctx)
	if err != nil {
		return err, nil
	}
	if err := n.findPlugins(ctx, list); err != nil {
		return fmt.Errorf("network %q: %w", list.Name, err), nil
	}
	for _, p := range list.Plugins { // one by one: behind one that is out of addresses another may be broken
		one := *list
		one.Plugins = []*libcni.PluginConfig{p}
		err := n.cni.GetStatusNetworkList(ctx, &one)
		var said *types.Error
		switch {
		case err == nil:
		case errors.As(err, &said) && said.Details == exhausted:
			full = fmt.Errorf("network %q: %w", list.Name, err)
		default:
			return fmt.Errorf("network %q: %w", list.Name, err), full
		}
	}
	return nil, full
}

// findPlugins returns an error that names every plugin of a chain that is not installed, or does not speak the chain's
// version of CNI: its ADD could not work, and the DEL that is to undo it even less.
func (n *Network) findPlugins(ctx context.Context, list *libcni.NetworkConfigList) error {
	var errs []error
	for _, p := range list.Plugins {
		for _, plugin := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if plugin == "" {
				continue // a plugin without IPAM
			}
			path, err := (&runner{}).FindInPath(plugin, n.conf.BinDirs)
			if err == nil {
				err = n.speaks(ctx, path, list.CNIVersion)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Description says what the node's networks are, for people and for crictl info.
type Description struct {
	ConfDir  string             `json:"conf_dir"`
	BinDirs  []string           `json:"bin_dirs"`
	Networks []DescribedNetwork `json:"networks"` // the first is the pod network
	Problem  string             `json:"problem,omitempty"`
}

// DescribedNetwork is one file of the configuration folder, or the built-in network.
type DescribedNetwork struct {
	Name       string   `json:"name,omitempty"`
	File       string   `json:"file,omitempty"` // "" = built-in
	CNIVersion string   `json:"cni_version,omitempty"`
	Plugins    []string `json:"plugins,omitempty"`
	Problem    string   `json:"problem,omitempty"`
}

// Describe reads the configuration folder and runs no plugin.
func (n *Network) Describe(ctx context.Context) Description {
	d := Description{ConfDir: n.conf.ConfDir, BinDirs: n.conf.BinDirs}
	files, err := loadFiles(n.conf.ConfDir)
	if err != nil {
		d.Problem = err.Error()
		return d
	}
	for _, f := range files {
		d.Networks = append(d.Networks, describe(f))
	}
	if len(files) > 0 {
		return d
	}
	list, err := n.podNetwork(ctx)
	if err != nil {
		d.Problem = err.Error()
		return d
	}
	d.Networks = append(d.Networks, describe(file{list: list}))
	return d
}

func describe(f file) DescribedNetwork {
	if f.err != nil {
		return DescribedNetwork{File: f.path, Problem: f.err.Error()}
	}
	return DescribedNetwork{File: f.path, Name: f.list.Name, CNIVersion: f.list.CNIVersion, Plugins: pluginTypes(f.list)}
}

func pluginTypes(list *libcni.NetworkConfigList) []string {
	var names []string
	for _, p := range list.Plugins {
		names = append(names, p.Network.Type)
	}
	return names
}
