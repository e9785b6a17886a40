package hostlocal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const resolvConfMax = 64 << 10

// readResolvConf reads DNS settings from a file in the format of resolv.conf(5).
func readResolvConf(path string) (_ types.DNS, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not make us wait
	if err != nil {
		return types.DNS{}, fmt.Errorf("read resolvConf: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, resolvConfMax+1))
	if err != nil {
		return types.DNS{}, fmt.Errorf("read resolvConf: %w", err)
	}
	if len(data) > resolvConfMax {
		return types.DNS{}, errdefs.Invalid("read resolvConf: %s is larger than %d bytes", path, resolvConfMax)
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
