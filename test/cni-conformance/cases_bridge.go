package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/netns"
)

// hostLocal is an address management configuration with the keys that every case needs.
func (e *env) hostLocal() object {
	return object{"cniVersion": "1.1.0", "name": "net", "type": "host-local", "ipam": e.ipam()}
}

func (e *env) ipam() object {
	return object{"type": "host-local", "dataDir": e.dir + "/ipam", "ranges": []any{[]any{object{"subnet": "10.9.0.0/24"}}}}
}

func (e *env) bridge() object {
	return object{"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "ipam": e.ipam()}
}

func (e *env) dual() object {
	return with(e.bridge(), object{"ipam": with(e.ipam(), object{"ranges": []any{
		[]any{object{"subnet": "10.9.0.0/24"}}, []any{object{"subnet": "fd09::/64"}},
	}})})
}

// attached makes a container and attaches it.
func (e *env) attached(name string, conf object) (*container, *current.Result, object, error) {
	c, err := e.container(name)
	if err != nil {
		return nil, nil, nil, err
	}
	result, raw, err := e.add("bridge", c, conf)
	return c, result, raw, err
}

// bridgeCases ask what ADD makes.
func bridgeCases() []testCase {
	return []testCase{
		{"bridge/result of version 1.1 names links, addresses, mtu", resultShape},
		{"bridge/results of older versions", olderVersions},
		{"bridge/container reaches container and gateway, IPv4 and IPv6", containersTalk},
		{"bridge/masquerade to the outside, not inside", masquerade},
		{"bridge/mtu follows the default route", mtuOfUplink},
		{"bridge/addresses are usable at once", noTentative},
		{"bridge/router advertisements of containers are not believed", noAdvertisements},
		{"bridge/mac capability", macCapability},
		{"bridge/ips capability", ipsCapability},
		{"bridge/hairpinMode, portIsolation", portModes},
		{"bridge/forceAddress", forceAddress},
		{"bridge/without ipam", withoutIPAM},
		{"bridge/disableContainerInterface", disabledInterface},
		{"bridge/bandwidth capability", bandwidth},
		{"bridge/a bridge that is no bridge is refused", noBridge},
		{"bridge/unsupported capability is code 2", unsupported},
		{"bridge/foreign ipam plugin, its code and its clean-up", foreignIPAM},
		{"bridge/prevResult is kept", keepsPrevResult},
	}
}

func resultShape(e *env) error {
	c, result, raw, err := e.attached("c1", e.dual())
	if err != nil {
		return err
	}
	if len(result.Interfaces) != 3 || len(result.IPs) != 2 || len(result.Routes) < 2 {
		return fmt.Errorf("result %v", raw)
	}
	inside := result.Interfaces[2]
	l, err := c.ns.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	if inside.Name != "eth0" || inside.Sandbox != c.path || inside.Mac != l.Attrs().HardwareAddr.String() {
		return fmt.Errorf("interface %v", inside)
	}
	for _, ip := range result.IPs {
		if ip.Interface == nil || *ip.Interface != 2 || ip.Gateway == nil {
			return fmt.Errorf("address %v", ip)
		}
	}
	for _, i := range result.Interfaces {
		if i.Mtu == 0 {
			return fmt.Errorf("interface %s has no mtu in the result", i.Name)
		}
	}
	return nil
}

func olderVersions(e *env) error {
	for i, v := range []string{"0.3.1", "0.4.0", "1.0.0"} {
		_, result, raw, err := e.attached(fmt.Sprint("c", i), with(e.bridge(), object{"cniVersion": v}))
		if err != nil {
			return fmt.Errorf("version %s: %w", v, err)
		}
		if len(result.IPs) != 1 || len(result.Interfaces) != 3 {
			return fmt.Errorf("version %s: %v", v, raw)
		}
	}
	return nil
}

func containersTalk(e *env) error {
	a, _, _, err := e.attached("a", e.dual())
	if err != nil {
		return err
	}
	b, result, _, err := e.attached("b", e.dual())
	if err != nil {
		return err
	}
	if err := errors.Join(e.serve(b.ns, 80), e.serve(e.host, 81)); err != nil {
		return err
	}
	var errs []error
	for _, ip := range result.IPs {
		errs = append(errs, reach(a.ns, hostPort(ip.Address.IP.String(), 80), ""), reach(a.ns, hostPort(ip.Gateway.String(), 81), ""),
			reach(e.host, hostPort(ip.Address.IP.String(), 80), ""))
	}
	return errors.Join(errs...)
}

func masquerade(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	a, _, _, err := e.attached("a", e.dual())
	if err != nil {
		return err
	}
	b, result, _, err := e.attached("b", e.dual())
	if err != nil {
		return err
	}
	if err := errors.Join(e.serve(outside, 80), e.serve(a.ns, 80)); err != nil {
		return err
	}
	return errors.Join(
		reach(b.ns, "192.0.2.2:80", "192.0.2.1"), reach(b.ns, "[2001:db8::2]:80", "2001:db8::1"),
		reach(b.ns, "10.9.0.2:80", result.IPs[0].Address.IP.String()))
}

func mtuOfUplink(e *env) error {
	if _, err := e.outside(); err != nil {
		return err
	}
	for i, gateways := range [][]string{{"192.0.2.2"}, {"192.0.2.2", "192.0.2.3"}} {
		if err := e.defaultRoute(gateways...); err != nil {
			return err
		}
		c, _, _, err := e.attached(fmt.Sprint("c", i), e.bridge())
		if err != nil {
			return err
		}
		l, err := c.ns.Netlink().LinkByName("eth0")
		if err != nil {
			return err
		}
		if l.Attrs().MTU != 1400 {
			return fmt.Errorf("mtu %d, that of the uplink is 1400; gateways %v", l.Attrs().MTU, gateways)
		}
	}
	return nil
}

func noTentative(e *env) error {
	c, _, _, err := e.attached("c1", e.dual())
	if err != nil {
		return err
	}
	l, err := c.ns.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	addrs, err := c.ns.Netlink().AddrList(l, netlink.FAMILY_V6)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if strings.HasPrefix(a.IP.String(), "fd09:") && a.Flags&0x40 == 0 { // IFA_F_TENTATIVE
			return nil
		}
	}
	return fmt.Errorf("addresses %v", addrs)
}

// noAdvertisements is about CVE-2020-10749.
func noAdvertisements(e *env) error {
	c, _, _, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	read := func(h *netns.Handle, link string) (text string, err error) {
		err = h.Do(func() error {
			data, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/accept_ra")
			text = strings.TrimSpace(string(data))
			return err
		})
		return text, err
	}
	inside, err1 := read(c.ns, "eth0")
	bridge, err2 := read(e.host, "br0")
	if inside != "0" || bridge != "0" {
		return errors.Join(fmt.Errorf("accept_ra is %s in the container, %s on the bridge", inside, bridge), err1, err2)
	}
	return nil
}

func macCapability(e *env) error {
	const mac = "02:11:22:33:44:55"
	c, result, _, err := e.attached("c1", with(e.bridge(), object{"runtimeConfig": object{"mac": mac}}))
	if err != nil {
		return err
	}
	l, err := c.ns.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	if l.Attrs().HardwareAddr.String() != mac || result.Interfaces[2].Mac != mac {
		return fmt.Errorf("the interface has %s, the result says %s", l.Attrs().HardwareAddr, result.Interfaces[2].Mac)
	}
	return nil
}

func ipsCapability(e *env) error {
	conf := with(e.bridge(), object{"runtimeConfig": object{"ips": []string{"10.9.0.77/24"}}})
	_, result, _, err := e.attached("c1", conf)
	if err != nil {
		return err
	}
	if got := result.IPs[0].Address.String(); got != "10.9.0.77/24" {
		return fmt.Errorf("it gave %s", got)
	}
	_, _, _, err = e.attached("c2", conf)
	if err == nil {
		return errors.New("it gave one address to two containers")
	}
	return nil
}

func portModes(e *env) error {
	_, result, _, err := e.attached("c1", with(e.bridge(), object{"hairpinMode": true}))
	if err != nil {
		return err
	}
	_, isolated, _, err := e.attached("c2", with(e.bridge(), object{"portIsolation": true}))
	if err != nil {
		return err
	}
	for i, r := range []*current.Result{result, isolated} {
		l, err := e.host.Netlink().LinkByName(r.Interfaces[1].Name)
		if err != nil {
			return err
		}
		p, err := e.host.Netlink().LinkGetProtinfo(l)
		if err != nil || p.Hairpin != (i == 0) || p.Isolated != (i == 1) {
			return saw(err, "port %s: hairpin %v, isolated %v", l.Attrs().Name, p.Hairpin, p.Isolated)
		}
	}
	return nil
}

func forceAddress(e *env) error {
	if _, _, _, err := e.attached("c1", e.bridge()); err != nil {
		return err
	}
	other := func(gateway, subnet string) object {
		ipam := with(e.ipam(), object{"ranges": []any{[]any{object{"subnet": subnet, "gateway": gateway}}}})
		return with(e.bridge(), object{"name": "net" + gateway, "ipam": ipam})
	}
	if _, _, _, err := e.attached("refused", other("10.9.0.254", "10.9.0.0/24")); err == nil {
		return errors.New("two gateways in one subnet were accepted without forceAddress")
	}
	for gateway, subnet := range map[string]string{"10.9.0.254": "10.9.0.0/24", "10.10.0.1": "10.10.0.0/24"} {
		if _, _, _, err := e.attached(gateway, with(other(gateway, subnet), object{"forceAddress": true})); err != nil {
			return err
		}
		br, err := e.host.Netlink().LinkByName("br0")
		if err != nil {
			return err
		}
		addrs, err := e.host.Netlink().AddrList(br, netlink.FAMILY_V4)
		if err != nil || len(addrs) != 1 || addrs[0].IP.String() != gateway {
			return saw(err, "bridge has %v", addrs)
		}
	}
	return nil
}

func withoutIPAM(e *env) error {
	conf := with(e.bridge(), object{"ipam": nil, "isDefaultGateway": nil, "ipMasq": nil})
	c, result, raw, err := e.attached("c1", conf)
	if err != nil {
		return err
	}
	l, err := c.ns.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	if len(result.IPs) != 0 || l.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("link %v, result %v", l.Attrs().Flags, raw)
	}
	return errors.Join(e.check("bridge", c, conf, raw), e.del("bridge", c, conf))
}

func disabledInterface(e *env) error {
	conf := with(e.bridge(), object{"ipam": nil, "isDefaultGateway": nil, "ipMasq": nil, "disableContainerInterface": true})
	c, _, _, err := e.attached("c1", conf)
	if err != nil {
		return err
	}
	l, err := c.ns.Netlink().LinkByName("eth0")
	if err != nil || l.Attrs().Flags&net.FlagUp != 0 {
		return saw(err, "link is up")
	}
	return nil
}

func bandwidth(e *env) error {
	conf := with(e.bridge(), object{"runtimeConfig": object{"bandwidth": object{
		"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 800_000,
	}}})
	c, result, raw, err := e.attached("c1", conf)
	if err != nil {
		return err
	}
	l, err := e.host.Netlink().LinkByName(result.Interfaces[1].Name)
	if err != nil {
		return err
	}
	list, err := e.host.Netlink().QdiscList(l)
	if err != nil {
		return err
	}
	for _, q := range list {
		if tbf, ok := q.(*netlink.Tbf); ok && tbf.Rate == 1_000_000 {
			return e.check("bridge", c, conf, raw)
		}
	}
	return fmt.Errorf("queues of the host's link: %v", list)
}

func noBridge(e *env) error {
	if err := e.host.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, PeerName: "br1"}); err != nil {
		return err
	}
	if _, _, _, err := e.attached("c1", e.bridge()); err == nil {
		return errors.New("it succeeded")
	}
	return e.nothingReserved()
}

func unsupported(e *env) error {
	var errs []error
	for i, runtime := range []object{
		{"infinibandGUID": "c2:11:22:33:44:55:66:77"}, {"deviceID": "0000:00:01.0"},
	} {
		_, _, _, err := e.attached(fmt.Sprint("c", i), with(e.bridge(), object{"runtimeConfig": runtime}))
		if wrong := wantCode(err, 2); wrong != nil {
			errs = append(errs, fmt.Errorf("%v: %w", runtime, wrong))
		}
	}
	return errors.Join(errs...)
}

func keepsPrevResult(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	prev := object{
		"cniVersion": "1.1.0", "interfaces": []any{object{"name": "eth9", "sandbox": c.path}},
		"ips": []any{object{"address": "10.8.0.2/24", "interface": 0}},
	}
	result, raw, err := e.add("bridge", c, with(e.bridge(), object{"prevResult": prev}))
	if err != nil {
		return err
	}
	if len(result.Interfaces) != 4 || len(result.IPs) != 2 || result.Interfaces[*result.IPs[1].Interface].Name != "eth0" {
		return fmt.Errorf("result %v", raw)
	}
	return nil
}
