package resctrl

import (
	"maps"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Config is what a container asks for.
type Config struct {
	ClosID     string   // class of service; "" is one of the container's own, "/" the default one of all
	Schemata   []string // lines to write, in order
	Monitoring bool     // a monitoring group of the container's own
}

const maxSchema = 4096

// CheckClosID refuses what is no name of a group.
func CheckClosID(id string) error {
	switch {
	case id == "" || id == "/":
		return nil
	case len(id) > 255 || strings.ContainsAny(id, "/\n\x00") || slices.Contains([]string{".", "..", "info", "mon_groups", "mon_data"}, id):
		return errdefs.Invalid("%.100q is not the name of a group in resctrl", id)
	}
	return nil
}

// CheckSchema refuses what is not one line of the form RESOURCE:ID=VALUE;…. A prefix, unless it is empty, is the resource.
func CheckSchema(line, prefix string) error {
	if len(line) > maxSchema || strings.ContainsAny(line, "\n\x00") {
		return errdefs.Invalid("%.100q: not one line, or longer than %d bytes", line, maxSchema)
	}
	if !strings.HasPrefix(line, prefix) {
		return errdefs.Invalid("%.100q does not begin with %q", line, prefix)
	}
	if _, err := parseSchema(line); err != nil {
		return err
	}
	return nil
}

// portion is one part of a schema: what a class may use of a resource ("L3", "MB") in one domain.
type portion struct{ resource, domain string }

// resourceOf returns what a line is about.
func resourceOf(line string) string {
	resource, _, _ := strings.Cut(line, ":")
	return strings.TrimSpace(resource)
}

// parseSchema reads a line. Values lose their leading zeros, which the kernel prints and people don't.
func parseSchema(line string) (map[portion]string, error) {
	resource, list, ok := strings.Cut(strings.TrimSpace(line), ":")
	resource = strings.TrimSpace(resource)
	if !ok || resource == "" {
		return nil, errdefs.Invalid("%.100q is not of the form RESOURCE:ID=VALUE;…", line)
	}
	parts := make(map[portion]string)
	for part := range strings.SplitSeq(list, ";") {
		domain, value, ok := strings.Cut(part, "=")
		domain, value = strings.TrimSpace(domain), strings.ToLower(strings.TrimSpace(value))
		if !ok || domain == "" || value == "" || strings.ContainsAny(domain+value, " \t=") {
			return nil, errdefs.Invalid("%.100q is not of the form RESOURCE:ID=VALUE;…", line)
		}
		parts[portion{resource, domain}] = strings.TrimLeft(value[:len(value)-1], "0") + value[len(value)-1:]
	}
	return parts, nil
}

// agrees tells whether a group's schemata, as the kernel prints them, say what a line asks for.
func agrees(schemata, line string) (bool, error) {
	asked, err := parseSchema(line)
	if err != nil {
		return false, err
	}
	have := make(map[portion]string)
	for l := range strings.Lines(schemata) {
		parts, err := parseSchema(l)
		if err != nil {
			continue // of a resource whose values have another form
		}
		maps.Copy(have, parts)
	}
	for p, v := range asked {
		if have[p] != v {
			return false, nil
		}
	}
	return true, nil
}
