package conformance

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Known is one entry of the list of known failures.
type Known struct {
	Pattern *regexp.Regexp // matches a part of the spec's full name
	Reason  string
}

// ParseKnown reads a list of known failures: a regular expression per line, then " # " and the reason, which must be there.
// Empty lines and lines that begin with # are left out.
func ParseKnown(r io.Reader) ([]Known, error) {
	var known []Known
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, reason, ok := strings.Cut(line, " # ")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("line %d: %q has no reason after %q", n, line, " # ")
		}
		re, err := regexp.Compile(strings.TrimSpace(pattern))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		known = append(known, Known{Pattern: re, Reason: strings.TrimSpace(reason)})
	}
	return known, lines.Err()
}
