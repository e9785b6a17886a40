package main

import (
	"errors"
	"fmt"

	"github.com/berth-runtime/berth/netns"
)

// reachCases ask from where published ports are reached.
func reachCases() []testCase {
	return []testCase{
		{"portmap/from outside, from the node, from 127.0.0.1, from pods", seenFromOutside((*env).bridge, "", publishEverywhere)},
		{"portmap/IPv6 from outside and from the node", seenFromOutside((*env).dual, "", publishIPv6)},
		{"portmap/the container reaches its own published port", publishHairpin},
		{"portmap/source address is kept from outside", seenFromOutside((*env).dual, "", publishKeepsSource)},
		{"portmap/hostIP: there and only there", seenFromOutside((*env).bridge, "192.0.2.9", publishHostIP)},
		{"portmap/hostIP ::1 is reached from the node, and not from elsewhere", publishLoopback6},
		{"portmap/hostIP 127.0.0.1 is not reachable from outside", seenFromOutside((*env).bridge, "127.0.0.1", publishLoopbackOnly)},
		{"portmap/containers can't reach 127.0.0.1 of the node", guardLoopback},
		{"portmap/ports of a container that the node can't reach are refused", publishUnreachable},
		{"portmap/SCTP from outside, from the node, from 127.0.0.1, by IPv6", publishSCTP},
		{"portmap/an SCTP port that a process listens on is refused", publishSCTPListener},
	}
}

// seenFromOutside is a case that begins with a machine outside, and a container of which port 80 is published as 8080 of an address of the node, of all
// for "".
func seenFromOutside(conf func(*env) object, hostIP string, ask func(e *env, outside *netns.Handle) error) func(*env) error {
	return func(e *env) error {
		outside, err := e.outside()
		if err != nil {
			return err
		}
		if _, _, _, err := e.published("c1", conf(e), both(8080, 80, hostIP)); err != nil {
			return err
		}
		return ask(e, outside)
	}
}

func publishEverywhere(e *env, outside *netns.Handle) error {
	other, _, _, err := e.attached("other", e.bridge())
	if err != nil {
		return err
	}
	return errors.Join(
		reach(outside, "192.0.2.1:8080", ""), reach(e.host, "192.0.2.1:8080", ""), reach(e.host, "127.0.0.1:8080", ""),
		reach(other.ns, "192.0.2.1:8080", ""), reach(other.ns, "10.9.0.1:8080", ""))
}

func publishIPv6(e *env, outside *netns.Handle) error {
	return errors.Join(reach(outside, "[2001:db8::1]:8080", ""), reach(e.host, "[2001:db8::1]:8080", ""))
}

// publishUnreachable publishes ports of a container whose bridge is no gateway: the node would send what comes for them back to the outside.
func publishUnreachable(e *env) error {
	if _, err := e.outside(); err != nil {
		return err
	}
	for i, gateways := range [][]string{nil, {"192.0.2.2"}} {
		if gateways != nil {
			if err := e.defaultRoute(gateways...); err != nil {
				return err
			}
		}
		_, _, _, err := e.published(fmt.Sprint("c", i), with(e.bridge(), object{"isDefaultGateway": false, "ipMasq": false}), both(8080, 80, ""))
		if wrong := wantCode(err, 7); wrong != nil {
			return fmt.Errorf("with the gateways %v: %w", gateways, wrong)
		}
	}
	return nil
}

func publishHairpin(e *env) error {
	c, _, _, err := e.published("c1", with(e.dual(), object{"hairpinMode": true}), both(8080, 80, ""))
	if err != nil {
		return err
	}
	return errors.Join(reach(c.ns, "10.9.0.1:8080", ""), reach(c.ns, "[fd09::1]:8080", ""))
}

func publishKeepsSource(_ *env, outside *netns.Handle) error {
	return errors.Join(reach(outside, "192.0.2.1:8080", "192.0.2.2"), reach(outside, "[2001:db8::1]:8080", "2001:db8::2"))
}

func publishHostIP(e *env, outside *netns.Handle) error {
	if err := address(e.host, "uplink", "192.0.2.9/24"); err != nil {
		return err
	}
	return errors.Join(reach(outside, "192.0.2.9:8080", "192.0.2.2"), reach(e.host, "192.0.2.9:8080", ""),
		refused(outside, "tcp", "192.0.2.1:8080"), refused(outside, "udp", "192.0.2.1:8080"), refused(e.host, "tcp", "127.0.0.1:8080"))
}

func publishLoopbackOnly(e *env, outside *netns.Handle) error {
	err := errors.Join(reach(e.host, "127.0.0.1:8080", ""), refused(outside, "tcp", "192.0.2.1:8080"), refused(e.host, "tcp", "192.0.2.1:8080"))
	if err != nil {
		return err
	}
	// A neighbour on the wire can address frames for 127.0.0.1 to the node.
	if err := routeLoopback(outside, "eth0", "192.0.2.1"); err != nil {
		return err
	}
	return errors.Join(refused(outside, "tcp", "127.0.0.1:8080"), refused(outside, "udp", "127.0.0.1:8080"))
}

// guardLoopback sends packets for the node's 127.0.0.1 to the bridge, which a privileged container can do (CVE-2020-8558).
func guardLoopback(e *env) error {
	c, _, _, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return err
	}
	if err := e.serve(e.host, 99); err != nil {
		return err
	}
	if err := routeLoopback(c.ns, "eth0", "10.9.0.1"); err != nil {
		return err
	}
	if err := reach(e.host, "127.0.0.1:99", ""); err != nil {
		return fmt.Errorf("the service itself: %w", err)
	}
	return errors.Join(refused(c.ns, "tcp", "127.0.0.1:99"), refused(c.ns, "udp", "127.0.0.1:99"))
}

func publishSCTP(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	c, _, raw, err := e.attached("c1", e.dual())
	if err != nil {
		return err
	}
	if err := errors.Join(e.serveSCTP(c.ns, "10.9.0.2:80"), e.serveSCTP(c.ns, "[fd09::2]:80")); err != nil {
		return err
	}
	ports := mappings(mapping{8080, 80, "sctp", ""})
	if _, _, err := e.add("portmap", c, portmapConf(ports, raw)); err != nil {
		return err
	}
	for _, from := range []struct {
		ns     *netns.Handle
		target string
	}{{outside, "192.0.2.1:8080"}, {e.host, "192.0.2.1:8080"}, {e.host, "127.0.0.1:8080"}, {outside, "[2001:db8::1]:8080"}, {e.host, "[2001:db8::1]:8080"}} {
		if _, err := ask(from.ns, "sctp", from.target); err != nil {
			return err
		}
	}
	if err := e.del("portmap", c, portmapConf(ports, raw)); err != nil {
		return err
	}
	return errors.Join(refused(outside, "sctp", "192.0.2.1:8080"), refused(e.host, "sctp", "127.0.0.1:8080"))
}

func publishSCTPListener(e *env) error {
	if err := e.serveSCTP(e.host, "0.0.0.0:8080"); err != nil {
		return err
	}
	if _, _, _, err := e.published("c1", e.bridge(), mappings(mapping{8080, 80, "sctp", ""})); err == nil {
		return errors.New("the port of a process was taken over")
	}
	_, err := ask(e.host, "sctp", "127.0.0.1:8080")
	return err
}

// routeLoopback sends 127.0.0.1 out of a link, to a gateway.
func routeLoopback(ns *netns.Handle, link, gateway string) error {
	l, err := ns.Netlink().LinkByName(link)
	if err != nil {
		return err
	}
	return errors.Join(
		setSysctl(ns, "net/ipv4/conf/all/route_localnet", "1"),
		dropLoopback(ns),
		routeOut(ns, l.Attrs().Index, "127.0.0.1/32", gateway))
}
