// Command tuning is a CNI plugin, chained after another, that changes settings of a container's interface and of the network in its
// namespace.
//
// It owns a record for each attachment: what was there before, written before anything is changed. DEL puts that back.
package main

import "github.com/berth-runtime/berth/cni-plugins/internal/plugin"

func main() { plugin.Main(commands()) }

func commands() plugin.Commands {
	return plugin.Commands{
		Name: "tuning", About: "changes settings of a container's interface and of the network in its namespace, chained behind another plugin",
		Keys: plugin.Keys(wireConfig{}),
		Add:  add, Del: del, Check: check, GC: gc, Status: status,
	}
}
