package validation

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Results are what came out of both runtimes.
type Results struct {
	Runc, Berth map[string]Verdict
}

// Worse returns the programs that pass with runc and not with berth-oci.
func (r Results) Worse() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(r.Berth)) {
		if r.Runc[name].Passed && !r.Berth[name].Passed {
			list = append(list, name)
		}
	}
	return list
}

// Count returns how many programs pass with runc, and with berth-oci.
func (r Results) Count() (runc, berth int) {
	for name, v := range r.Berth {
		if v.Passed {
			berth++
		}
		if r.Runc[name].Passed {
			runc++
		}
	}
	return runc, berth
}

// Table returns the results as a Markdown document. The reasons are those of differences.
func (r Results) Table(versions string, differences map[string]string) string {
	var b strings.Builder
	runc, berth := r.Count()
	fmt.Fprintf(&b, "# runtime-tools' validation programs\n\n")
	fmt.Fprintf(&b, "Written by `make validation VALIDATION_FLAGS=--write`, compared by every `make test`. %s.\n", versions)
	fmt.Fprintf(&b, "Of %d programs, %d pass with runc and %d with berth-oci.\n\n", len(r.Berth), runc, berth)
	b.WriteString("| program | runc | berth-oci |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(r.Berth)) {
		mine := r.Berth[name].cell()
		if why := differences[name]; why != "" {
			mine += "; " + why
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, r.Runc[name].cell(), mine)
	}
	return b.String()
}

func (v Verdict) cell() string {
	if v.Passed {
		return "passes"
	}
	return "fails: " + v.Why
}

// ParseDifferences reads lines of a program's name, a colon and a reason. Empty lines and those with # are skipped.
func ParseDifferences(r io.Reader) (map[string]string, error) {
	list := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, why, ok := strings.Cut(line, ": ")
		if !ok || strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("line %q has no reason", line)
		}
		list[name] = strings.TrimSpace(why)
	}
	return list, lines.Err()
}
