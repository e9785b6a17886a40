// Command bandwidth is a CNI plugin, chained after one that makes a veth pair, that limits what a container receives and sends. The bridge
// plugin of berth limits by itself; this one is for the chains of others, for subnets, and for containers that must not be able to lift
// the limit: all it makes is on the host's side.
package main

import "github.com/berth-runtime/berth/cni-plugins/internal/plugin"

func main() { plugin.Main(commands()) }

func commands() plugin.Commands {
	return plugin.Commands{
		Name: "bandwidth", About: "limits what a container receives and sends, chained behind a plugin that makes a veth pair",
		Keys: plugin.Keys(wireConfig{}),
		Add:  add, Del: del, Check: check, GC: gc, Status: status,
	}
}
