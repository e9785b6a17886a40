// Command loopback is a CNI plugin that sets the loopback interface of a container up.
package main

import (
	"fmt"
	"net"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
)

func main() {
	plugin.Main(plugin.Commands{
		Name: "loopback", About: "sets the loopback interface of a container up", Keys: []string{},
		Add: add, Del: del, Check: check,
		GC:     func(*plugin.Request) error { return nil }, // everything is in the namespace and goes with it
		Status: func(*plugin.Request) error { return nil },
	})
}

// add sets lo up, whatever interface name was given, and adds it to the result of the plugins before.
func add(r *plugin.Request) (*current.Result, error) {
	lo, err := find(r)
	if err != nil {
		return nil, err
	}
	if err := r.NS.Netlink().LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("set lo up: %w", err)
	}
	result := r.Config.Prev
	if result == nil {
		result = &current.Result{}
	}
	index := len(result.Interfaces)
	result.Interfaces = append(result.Interfaces, &current.Interface{Name: "lo", Mac: "00:00:00:00:00:00", Sandbox: r.Netns})
	addrs, err := link.Addrs(r.NS.Netlink(), lo)
	if err != nil {
		return nil, fmt.Errorf("list addresses of lo: %w", err)
	}
	for _, a := range addrs {
		result.IPs = append(result.IPs, &current.IPConfig{Interface: new(index), Address: *a.IPNet})
	}
	return result, nil
}

// del sets lo down.
func del(r *plugin.Request) error {
	if r.NS == nil {
		return nil
	}
	lo, err := find(r)
	if err != nil {
		return err
	}
	if err := r.NS.Netlink().LinkSetDown(lo); err != nil {
		return fmt.Errorf("set lo down: %w", err)
	}
	return nil
}

func check(r *plugin.Request) error {
	lo, err := find(r)
	if err != nil {
		return err
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		return plugin.Mismatch("interface lo is down")
	}
	return nil
}

func find(r *plugin.Request) (netlink.Link, error) {
	lo, err := r.NS.Netlink().LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("look for interface lo: %w", err)
	}
	return lo, nil
}
