package main

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/berth-runtime/berth/cni-plugins/internal/bounded"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// allowListPath is that of the CNI project's plugin: the node's owner says there which sysctls a network configuration may set.
const allowListPath = "/etc/cni/tuning/allowlist.conf"

const allowListMax = 64 << 10 // bytes

func checkAllowed(list sysctls) error {
	if len(list) == 0 {
		return nil
	}
	data, err := readAllowList(allowListPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return allowed(data, list)
}

func readAllowList(path string) ([]byte, error) {
	data, err := bounded.Setting(path, allowListMax)
	if err != nil {
		return nil, fmt.Errorf("read list of allowed sysctls: %w", err)
	}
	return data, nil
}

// allowed refuses settings that no line of the list matches. A line is a regular expression, found anywhere in the key; those that
// begin with # are comments. An expression that can't be read is refused: it may be what was to hold something off.
func allowed(data []byte, list sysctls) error {
	var patterns []*regexp.Regexp
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		p, err := regexp.Compile(line)
		if err != nil {
			return errdefs.Invalid("%s: line %.100q is no regular expression: %w", allowListPath, line, err)
		}
		patterns = append(patterns, p)
	}
	for _, s := range list {
		found := false
		for _, p := range patterns {
			found = found || p.MatchString(s.Key)
		}
		if !found {
			return errdefs.Invalid("sysctl %s is not allowed on this node; a line of %s must match it", s.Key, allowListPath)
		}
	}
	return nil
}
