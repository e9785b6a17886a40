package rpc

import (
	"fmt"
	"path"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Bounds of a request. gRPC has already refused messages over maxMessage; these keep single values to what the kernel
// or a record can carry, so that the error names the field instead of coming late from execve or a file system.
const (
	maxName    = 253         // DNS_SUBDOMAIN of Kubernetes
	maxPath    = 4095        // PATH_MAX without its NUL
	maxString  = 128<<10 - 1 // MAX_ARG_STRLEN without its NUL (execve(2))
	maxItems   = 4096        // entries of any list or map
	maxPairs   = 1 << 20     // bytes of all labels, or all annotations
	maxImage   = 4096        // a reference
	maxMessage = 16 << 20
)

// decoder collects the first fault of a request, so that conversions read as a list of fields.
type decoder struct{ err error }

func (d *decoder) fail(field, format string, args ...any) {
	if d.err == nil {
		d.err = errdefs.Invalid("%s: %s", field, fmt.Sprintf(format, args...))
	}
}

// text checks one string: at most limit bytes and no NUL, which would end it early in the kernel.
func (d *decoder) text(field, v string, limit int) string {
	switch {
	case len(v) > limit:
		d.fail(field, "has %d bytes; the limit is %d", len(v), limit)
	case strings.IndexByte(v, 0) >= 0:
		d.fail(field, "holds a NUL byte")
	}
	return v
}

// line is text without control characters: it ends in generated files (/etc/hosts, resolv.conf) and in log lines.
func (d *decoder) line(field, v string, limit int) string {
	if strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
		d.fail(field, "holds a control character")
	}
	return d.text(field, v, limit)
}

// required is a line that may not be empty.
func (d *decoder) required(field, v string, limit int) string {
	if v == "" {
		d.fail(field, "is required")
	}
	return d.line(field, v, limit)
}

// id is the ID of a pod or container, or a prefix of one. What is no ID at all is simply not found: stopping and
// removing it must succeed.
func (d *decoder) id(field, v string) string { return d.required(field, v, maxName) }

func (d *decoder) optionalID(field, v string) string { return d.line(field, v, maxName) }

// absPath is a path of the host or of a container. It is not cleaned: x/.. means something else when x is a symbolic
// link.
func (d *decoder) absPath(field, v string) string {
	if v != "" && !path.IsAbs(v) {
		d.fail(field, "%.128q is not absolute", v)
	}
	return d.text(field, v, maxPath)
}

func (d *decoder) count(field string, n int) {
	if n > maxItems {
		d.fail(field, "has %d entries; the limit is %d", n, maxItems)
	}
}

// texts checks a list of strings that execve or a file may carry.
func (d *decoder) texts(field string, list []string, limit int) []string {
	d.count(field, len(list))
	for i, v := range list {
		d.text(fmt.Sprintf("%s[%d]", field, i), v, limit)
	}
	return list
}

func (d *decoder) lines(field string, list []string, limit int) []string {
	d.count(field, len(list))
	for i, v := range list {
		d.line(fmt.Sprintf("%s[%d]", field, i), v, limit)
	}
	return list
}

// pairs checks labels, annotations and other maps. They are given back exactly as they came (CRI), so nothing in them
// is changed.
func (d *decoder) pairs(field string, m map[string]string) map[string]string {
	d.count(field, len(m))
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
	}
	if size > maxPairs {
		d.fail(field, "has %d bytes; the limit is %d", size, maxPairs)
	}
	return m
}

// enum checks that v is one of CRI's values, 0 to last.
func enum[T ~int32](d *decoder, field string, v, last T) T {
	if v < 0 || v > last {
		d.fail(field, "unknown value %d", v)
	}
	return v
}
