// Command firewall is a CNI plugin, chained after another, that keeps containers of different networks, or all containers, apart.
//
// It writes nftables by netlink and nothing else, whatever backend the configuration names: see internal/nft.
package main

import "github.com/berth-runtime/berth/cni-plugins/internal/plugin"

func main() { plugin.Main(commands()) }

func commands() plugin.Commands {
	return plugin.Commands{
		Name: "firewall", About: "keeps containers of different networks, or all, apart, chained behind another plugin",
		Keys: plugin.Keys(wireConfig{}),
		Add:  add, Del: del, Check: check, GC: gc, Status: status,
	}
}
