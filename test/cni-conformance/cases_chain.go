package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// chainCases drive whole chains with the CNI project's own library, as runtimes do, and ask loopback.
func chainCases() []testCase {
	return []testCase{
		{"loopback/lo is up and in the result", loopback},
		{"chain/ADD CHECK DEL GC STATUS by libcni", chain},
	}
}

func loopback(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	lo, err := c.ns.Netlink().LinkByName("lo")
	if err != nil {
		return err
	}
	if err := c.ns.Netlink().LinkSetDown(lo); err != nil {
		return err
	}
	conf := e.confOf("loopback")
	result, raw, err := e.add("loopback", c, conf)
	if err != nil {
		return err
	}
	if lo, err = c.ns.Netlink().LinkByName("lo"); err != nil || lo.Attrs().Flags&net.FlagUp == 0 {
		return saw(err, "lo is down")
	}
	if len(result.Interfaces) != 1 || result.Interfaces[0].Name != "lo" || result.Interfaces[0].Sandbox != c.path || len(result.IPs) == 0 {
		return fmt.Errorf("result %v", raw)
	}
	if err := e.check("loopback", c, conf, raw); err != nil {
		return err
	}
	if err := errors.Join(e.del("loopback", c, conf), e.del("loopback", c, conf), e.gc("loopback", conf), e.status("loopback", conf)); err != nil {
		return err
	}
	if e.check("loopback", c, conf, raw) == nil {
		return errors.New("CHECK succeeds after DEL")
	}
	return nil
}

func chain(e *env) error {
	plugin := e.bridge()
	delete(plugin, "cniVersion")
	delete(plugin, "name")
	data, err := json.Marshal(object{"cniVersion": "1.1.0", "name": "net", "plugins": []any{
		plugin, object{"type": "portmap", "capabilities": object{"portMappings": true}},
	}})
	if err != nil {
		return err
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return err
	}
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	if err := e.serve(c.ns, 80); err != nil {
		return err
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{e.plugins}, filepath.Join(e.dir, "cache"), nil)
	rt := &libcni.RuntimeConf{ContainerID: c.id, NetNS: c.path, IfName: "eth0", CapabilityArgs: both(8080, 80, "")}
	ctx := context.Background()
	err = e.host.Do(func() error {
		if err := cni.GetStatusNetworkList(ctx, list); err != nil {
			return fmt.Errorf("STATUS: %w", err)
		}
		_, err := cni.AddNetworkList(ctx, list, rt)
		return err
	})
	if err != nil {
		return err
	}
	if err := reach(e.host, "127.0.0.1:8080", ""); err != nil {
		return err
	}
	keep := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: c.id, IfName: "eth0"}}}
	err = e.host.Do(func() error {
		return errors.Join(cni.CheckNetworkList(ctx, list, rt), cni.GCNetworkList(ctx, list, keep), cni.CheckNetworkList(ctx, list, rt),
			cni.DelNetworkList(ctx, list, rt), cni.GCNetworkList(ctx, list, &libcni.GCArgs{}))
	})
	return errors.Join(err, refused(e.host, "tcp", "127.0.0.1:8080"), e.nothingReserved())
}
