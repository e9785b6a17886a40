// Command static is a CNI plugin for address management that hands out the addresses which its configuration names, and keeps nothing.
package main

import "github.com/berth-runtime/berth/cni-plugins/internal/plugin"

func main() {
	nothing := func(*plugin.Request) error { return nil } // no address is reserved anywhere
	plugin.Main(plugin.Commands{
		Name: "static", About: "hands out the addresses that its configuration names",
		Keys: plugin.Keys(wireIPAM{}), Section: "ipam",
		Add: add, Del: nothing, Check: check, GC: nothing, Status: status,
	})
}
