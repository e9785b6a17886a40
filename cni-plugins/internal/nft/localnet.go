package nft

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
)

// allowLoopback lets published ports of pods behind a link be reached from the node's 127.0.0.1. It comes after the guard, which
// keeps pods from reaching the node's loopback services.
func allowLoopback(link string) error {
	return sysctl.Set("1", "ipv4", "conf", link, "route_localnet")
}

// forbidLoopback is the opposite; the link may be gone.
func forbidLoopback(link string) error {
	return sysctl.SetIfPresent("0", "ipv4", "conf", link, "route_localnet")
}

// gone tells whether a link is known not to exist.
func gone(link string) bool {
	_, err := os.Stat(filepath.Join("/proc/sys/net/ipv4/conf", link))
	return errors.Is(err, fs.ErrNotExist)
}
