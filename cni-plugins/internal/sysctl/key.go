package sysctl

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// keyMax bounds a key; the longest of Linux have some 60 bytes and a link's name.
const keyMax = 256

// ParseKey splits the name of a setting of the network, as sysctl(8) reads it, into the parts that [Set] takes: dots separate and a slash
// stands for a dot in a name, or, if the first separator is a slash, the other way round. The part IFNAME stands for a link's name.
func ParseKey(key, ifName string) ([]string, error) {
	if len(key) > keyMax {
		return nil, errdefs.Invalid("sysctl %.100q: its name has more than %d bytes", key, keyMax)
	}
	var parts []string
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		parts = strings.Split(key, "/")
	} else {
		for part := range strings.SplitSeq(key, ".") {
			parts = append(parts, strings.ReplaceAll(part, "/", "."))
		}
	}
	if len(parts) < 2 || parts[0] != "net" {
		return nil, errdefs.Invalid("sysctl %q is not one of the network, which begin with net.", key)
	}
	parts = parts[1:]
	for i, p := range parts {
		if strings.IndexFunc(p, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
			return nil, errdefs.Invalid("sysctl %q: its name holds a character that none has", key)
		}
		if p == "IFNAME" {
			parts[i] = ifName
		}
	}
	if slices.ContainsFunc(parts, isNoName) {
		return nil, errdefs.Invalid("sysctl %q is not the name of a setting", key)
	}
	return parts, nil
}

// isNoName tells whether a part would lead somewhere else than to one entry of a folder.
func isNoName(part string) bool {
	return part == "" || part == "." || part == ".." || strings.ContainsRune(part, '/')
}

// Get reads a setting, without the blanks around it. One that does not exist gives an error that wraps fs.ErrNotExist.
func Get(parts ...string) (string, error) {
	path, err := join(parts)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read sysctl: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
