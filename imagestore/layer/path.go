package layer

import (
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// OCI's markers (image-spec layer.md, "Whiteouts"). Names that begin with the prefix twice belong to AUFS, which made
// the first Docker layers; they never were files of a container.
const (
	whiteoutPrefix = ".wh."
	aufsPrefix     = ".wh..wh."
	opaqueName     = ".wh..wh..opq"
)

// path cleans a name. A leading slash is dropped, since some builders write one; a ".." is refused wherever it stands:
// no builder needs it.
func (r *Reader) path(name string) (string, error) {
	if len(name) >= r.limits.PathBytes {
		return "", errdefs.Invalid("the name is longer than %d bytes", r.limits.PathBytes-1)
	}
	if strings.Contains(name, "\x00") {
		return "", errdefs.Invalid("the name contains NUL")
	}
	parts := make([]string, 0, 16)
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", errdefs.Invalid("the name contains %q", "..")
		case len(part) > 255:
			return "", errdefs.Invalid("a part of the name is longer than 255 bytes")
		}
		parts = append(parts, part)
	}
	if len(parts) > r.limits.Depth {
		return "", errdefs.Invalid("the name is more than %d folders deep", r.limits.Depth)
	}
	if len(parts) == 0 {
		if name == "" {
			return "", errdefs.Invalid("the name is empty")
		}
		return ".", nil
	}
	for _, part := range parts[:len(parts)-1] {
		if strings.HasPrefix(part, whiteoutPrefix) {
			return "", errdefs.Invalid("%s is the name of a marker and can't be a folder", quote(part))
		}
	}
	return strings.Join(parts, "/"), nil
}

// marker turns an entry with a marker's name into what it stands for, whatever its type. Kind stays 0 for AUFS's own.
func (e *Entry) marker() (bool, error) {
	dir, base := ".", e.Path
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
		dir, base = e.Path[:i], e.Path[i+1:]
	}
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok:
		return false, nil
	case base == opaqueName:
		*e = Entry{Kind: Opaque, Path: dir}
	case strings.HasPrefix(base, aufsPrefix):
		*e = Entry{}
	case hidden == "" || hidden == "." || hidden == "..":
		return false, errdefs.Invalid("a whiteout of %q", hidden)
	case dir == ".":
		*e = Entry{Kind: Whiteout, Path: hidden}
	default:
		*e = Entry{Kind: Whiteout, Path: dir + "/" + hidden}
	}
	return true, nil
}

// quote makes a name from a layer fit for a message.
func quote(name string) string {
	if len(name) > 200 {
		return strconv.Quote(name[:200]) + "…"
	}
	return strconv.Quote(name)
}
