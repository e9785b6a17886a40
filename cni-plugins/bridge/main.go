// Command bridge is a CNI plugin that connects a container to a bridge of the host: one process sets up the link, its addresses (by
// an ipam plugin), masquerading, published ports and rate limits.
//
// It goes config → plan → apply: conf.go and plan.go are pure, apply.go carries a plan out on a clean-up stack.
package main

import "github.com/berth-runtime/berth/cni-plugins/internal/plugin"

func main() {
	plugin.Main(plugin.Commands{
		Name: "bridge", About: "connects a container to a bridge of the host",
		Keys: plugin.Keys(wireConfig{}),
		Add:  add, Del: del, Check: check, GC: gc, Status: status,
	})
}
