// Command host-local is a CNI plugin for address management: it hands out addresses from ranges that belong to this node alone.
package main

import (
	"github.com/berth-runtime/berth/cni-plugins/internal/hostlocal"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
)

func main() {
	plugin.Main(hostlocal.Commands())
}
