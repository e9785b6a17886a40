package spec

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// HostsFile returns /etc/hosts of a pod with a network of its own. The kubelet mounts one of its own over it; this is for
// the others.
func HostsFile(hostname string, ips []netip.Addr) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	b.WriteString("fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	for _, ip := range ips {
		fmt.Fprintf(&b, "%s\t%s\n", ip, hostname)
	}
	return b.Bytes()
}

// ResolvFile returns /etc/resolv.conf as the client wants it.
func ResolvFile(d DNS) []byte {
	var b bytes.Buffer
	if len(d.Searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(d.Searches, " "))
	}
	for _, s := range d.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(d.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(d.Options, " "))
	}
	return b.Bytes()
}

// OnlyLoopbackDNS says whether every name server of a resolv.conf listens on loopback (systemd-resolved, dnsmasq), where a
// pod with a network of its own can't reach it.
func OnlyLoopbackDNS(resolv []byte) bool {
	found := false
	for s := bufio.NewScanner(bytes.NewReader(resolv)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		ip, err := netip.ParseAddr(fields[1])
		if err != nil || !ip.IsLoopback() {
			return false
		}
		found = true
	}
	return found
}
