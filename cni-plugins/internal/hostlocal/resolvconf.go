package hostlocal

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/cni-plugins/internal/bounded"
)

const resolvConfMax = 64 << 10

// readResolvConf reads DNS settings from a file in the format of resolv.conf(5).
func readResolvConf(path string) (types.DNS, error) {
	data, err := bounded.Setting(path, resolvConfMax)
	if err != nil {
		return types.DNS{}, fmt.Errorf("read resolvConf: %w", err)
	}
	return parseResolvConf(data), nil
}

// parseResolvConf takes the lines that it knows, as resolvers do; the last search or domain line wins.
func parseResolvConf(data []byte) types.DNS {
	var dns types.DNS
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		switch f[0] {
		case "nameserver":
			dns.Nameservers = append(dns.Nameservers, f[1])
		case "domain":
			dns.Domain = f[1]
		case "search":
			dns.Search = f[1:]
		case "options":
			dns.Options = append(dns.Options, f[1:]...)
		}
	}
	return dns
}
