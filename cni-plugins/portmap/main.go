// Command portmap is a CNI plugin, chained after another, that publishes ports of a container on the node. The bridge plugin of berth does
// that by itself; this one is for the chains of others. Both write to the same nftables table.
package main

import (
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
)

func main() {
	plugin.Main(plugin.Commands{
		Name: "portmap", About: "publishes ports of a container on the node, chained behind another plugin",
		Keys: plugin.Keys(wireConfig{}),
		Add:  add, Del: del, Check: check, GC: gc, Status: status,
	})
}
