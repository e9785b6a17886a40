package reference

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// ParseDigest accepts sha256 and sha512 in their one canonical spelling. Digests become file names and database keys,
// so nothing else may pass (CVE-2024-3727 was an unchecked digest used as a path).
func ParseDigest(s string) (digest.Digest, error) {
	algorithm, hex, _ := strings.Cut(s, ":")
	size := 0
	switch algorithm {
	case "sha256":
		size = 64
	case "sha512":
		size = 128
	default:
		return "", errdefs.Invalid("digest %s: algorithm is not sha256 or sha512", quote(s))
	}
	if len(hex) != size || !all(hex, isHex) {
		return "", errdefs.Invalid("digest %s: want %d lower-case hexadecimal digits after %q", quote(s), size, algorithm+":")
	}
	return digest.Digest(s), nil
}

func (r Reference) checkName() error {
	if r.Repository == "" || r.Repository == "library/" {
		return errdefs.Invalid("has no repository")
	}
	if !validDomain(r.Domain) {
		return errdefs.Invalid("has a bad registry %s", quote(r.Domain))
	}
	if len(r.Repository) > maxRepository {
		return errdefs.Invalid("has a repository of more than %d bytes", maxRepository)
	}
	if strings.ToLower(r.Repository) != r.Repository {
		return errdefs.Invalid("has capitals in the repository; it must be lower-case")
	}
	for part := range strings.SplitSeq(r.Repository, "/") {
		if !validPart(part) {
			return errdefs.Invalid("has a bad part %s in the repository", quote(part))
		}
	}
	if short, found := strings.CutPrefix(r.Repository, "library/"); found && r.Domain == dockerHub && len(short) == 64 && all(short, isHex) {
		return errdefs.Invalid("is an image ID, not a name")
	}
	return nil
}

func validTag(tag string) bool {
	return len(tag) <= 128 && all(tag, isTagByte) && tag[0] != '.' && tag[0] != '-'
}

func isTagByte(c byte) bool {
	return isLower(c) || isDigit(c) || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '-'
}

// validPart checks one part of a repository: runs of letters and digits, parted by ".", "_", "__" or dashes.
func validPart(part string) bool {
	start := 0
	for i := 0; i <= len(part); i++ {
		if i < len(part) && (isLower(part[i]) || isDigit(part[i])) {
			continue
		}
		if i == start { // an empty run: at an end, or beside another separator
			return false
		}
		if i == len(part) {
			return true
		}
		i = skipSeparator(part, i)
		start = i + 1
	}
	return false
}

// skipSeparator returns the index of the separator's last byte.
func skipSeparator(part string, i int) int {
	switch part[i] {
	case '-':
		for i+1 < len(part) && part[i+1] == '-' {
			i++
		}
	case '_':
		if i+1 < len(part) && part[i+1] == '_' {
			i++
		}
	case '.':
	default:
		return len(part) // no separator: the next run is empty
	}
	return i
}

func validDomain(domain string) bool {
	host, port := domain, ""
	if i := strings.LastIndexByte(domain, ':'); i >= 0 && !strings.HasSuffix(domain, "]") {
		host, port = domain[:i], domain[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || !isDigit(port[0]) {
			return false
		}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return found && err == nil && addr.Is6() && addr.Zone() == ""
	}
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.ToLower(host), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !all(label, isHostByte) {
			return false
		}
	}
	return true
}

func isHostByte(c byte) bool { return isLower(c) || isDigit(c) || c == '-' }
func isLower(c byte) bool    { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool    { return c >= '0' && c <= '9' }
func isHex(c byte) bool      { return isDigit(c) || c >= 'a' && c <= 'f' }

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return s != ""
}

// quote makes any bytes printable and short enough for an error.
func quote(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strconv.Quote(s)
}
