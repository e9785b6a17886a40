package names

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	aliasesMax = 64  // of one attachment
	nameMax    = 253 // bytes (RFC 1123, section 2.1)
	labelMax   = 63
)

// ParseAliases reads the capability aliases: a list of names, as the CNI conventions have it, or as podman has it one for each network.
// Names are checked and made lower case; none comes twice.
func ParseAliases(raw json.RawMessage, network string) ([]string, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, nil
	}
	var list []string
	var err error
	if raw[0] == '{' {
		var byNetwork map[string][]string
		err = json.Unmarshal(raw, &byNetwork)
		list = byNetwork[network]
	} else {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		return nil, errdefs.Invalid("aliases: %w", err)
	}
	if len(list) > aliasesMax {
		return nil, errdefs.Invalid("aliases: %d names, at most %d are taken", len(list), aliasesMax)
	}
	var out []string
	for _, name := range list {
		lower := strings.ToLower(name)
		if !isHostName(lower) {
			return nil, errdefs.Invalid("aliases: %.100q is no host name (RFC 1123)", name)
		}
		if !slices.Contains(out, lower) {
			out = append(out, lower)
		}
	}
	return out, nil
}

// WithPod puts the pod's own names in front of its aliases, NAME.NAMESPACE and NAME, as far as they can be host names. Without
// aliases nothing has a name.
func WithPod(aliases []string, name, namespace string) []string {
	if len(aliases) == 0 {
		return nil
	}
	var out []string
	for _, n := range append([]string{name + "." + namespace, name}, aliases...) {
		if n = strings.ToLower(n); isHostName(n) && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// isHostName tells names of RFC 1123 in lower case: labels of letters, digits and, inside, hyphens. What could be an address is none.
func isHostName(name string) bool {
	if name == "" || len(name) > nameMax {
		return false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > labelMax || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return len(labels) == 1 || strings.Trim(last, "0123456789") != ""
}
