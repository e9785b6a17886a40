package registry

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const maxErrorText = 1000

// scrubber takes secrets out of error texts. What passes it is flat text: the causes, which could still show the
// secret, aren't wrapped.
type scrubber struct{ secrets []string }

func newScrubber(secrets []string, header http.Header, proxy *url.URL) scrubber {
	for _, values := range header {
		secrets = append(secrets, values...)
	}
	if proxy != nil {
		if password, set := proxy.User.Password(); set {
			secrets = append(secrets, password)
		}
	}
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return len(s) < 4 })
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // the whole before its parts
	return scrubber{secrets}
}

// text makes an error printable: no secrets, no queries or users of URLs (signed links are secrets too), no control
// characters, of bounded length.
func (s scrubber) text(t string) string {
	for _, secret := range s.secrets {
		t = strings.ReplaceAll(t, secret, "[secret]")
		t = strings.ReplaceAll(t, url.QueryEscape(secret), "[secret]")
	}
	t = regexp.MustCompile(`[a-z]+://[^\s"'<>]+`).ReplaceAllStringFunc(t, plainURL)
	t = regexp.MustCompile(`(?i)(bearer|basic) [A-Za-z0-9._~+/=-]{16,}`).ReplaceAllString(t, "$1 [secret]")
	t = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(t, "�"))
	if len(t) > maxErrorText {
		t = strings.ToValidUTF8(t[:maxErrorText], "") + "…"
	}
	return t
}

// plainURL drops a URL's user, query and fragment.
func plainURL(raw string) string {
	rest, _, cut := strings.Cut(raw, "?")
	rest, _, _ = strings.Cut(rest, "#")
	scheme, rest, _ := strings.Cut(rest, "://")
	if host, path, _ := strings.Cut(rest, "/"); strings.Contains(host, "@") {
		rest = host[strings.LastIndexByte(host, '@')+1:] + "/" + path
	}
	if cut {
		rest += "?…"
	}
	return scheme + "://" + rest
}
