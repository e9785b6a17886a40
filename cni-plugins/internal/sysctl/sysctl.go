// Package sysctl reads and writes kernel settings under /proc/sys/net, in the network namespace of the calling thread. It owns
// nothing and keeps nothing.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Set writes a setting, unless it has the value already. The path is given in parts, below /proc/sys/net, because a link's
// name may hold dots. A setting that does not exist gives an error that wraps fs.ErrNotExist.
func Set(value string, parts ...string) error {
	path, err := join(parts)
	if err != nil {
		return err
	}
	now, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	return write(path, value)
}

func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // not os.WriteFile, which would try to make the file
	if err != nil {
		return fmt.Errorf("set sysctl: %w", err)
	}
	_, err = f.WriteString(value + "\n") // without it, nothing would be written for an empty list
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set sysctl to %s: %w", value, err)
	}
	return nil
}

// SetIfPresent is Set for a setting that may be missing, as those of IPv6 are when it is off.
func SetIfPresent(value string, parts ...string) error {
	if err := Set(value, parts...); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteIfPresent is SetIfPresent without a look at the value of before. Among hundreds of namespaces with a link of the same name, finding
// the file takes long.
func WriteIfPresent(value string, parts ...string) error {
	path, err := join(parts)
	if err != nil {
		return err
	}
	if err := write(path, value); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func join(parts []string) (string, error) {
	if slices.ContainsFunc(parts, isNoName) {
		return "", errdefs.Bug("sysctl %q", parts)
	}
	return filepath.Join(append([]string{"/proc/sys/net"}, parts...)...), nil
}

// ForwardIPv6 turns IPv6 forwarding on. A router does not listen to router advertisements, so links that take their default route
// from them are told to go on (accept_ra 2); otherwise the node would lose that route some minutes later.
func ForwardIPv6() error {
	const all = "/proc/sys/net/ipv6/conf/all/forwarding"
	now, err := os.ReadFile(all)
	if err != nil {
		return fmt.Errorf("turn IPv6 forwarding on: %w", err)
	}
	if strings.TrimSpace(string(now)) == "1" {
		return nil
	}
	entries, err := os.ReadDir("/proc/sys/net/ipv6/conf")
	if err != nil {
		return fmt.Errorf("turn IPv6 forwarding on: %w", err)
	}
	for _, e := range entries {
		if e.Name() == "all" || e.Name() == "default" || e.Name() == "lo" {
			continue
		}
		listens, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", e.Name(), "accept_ra"))
		if err != nil || strings.TrimSpace(string(listens)) != "1" {
			continue // gone meanwhile, or not listening
		}
		if err := SetIfPresent("2", "ipv6", "conf", e.Name(), "accept_ra"); err != nil {
			return err
		}
	}
	return Set("1", "ipv6", "conf", "all", "forwarding")
}
