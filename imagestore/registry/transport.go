package registry

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/berth-runtime/berth/imagestore/hosts"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	maxRedirects      = 10
	maxResponseHeader = 128 << 10
	idleTimeout       = 30 * time.Second
	readBuffer        = 64 << 10
)

// hostTransport sends a host's own requests with its headers and client certificates, and those to other hosts (token
// servers, redirects to storage) without them.
type hostTransport struct {
	addr       string
	header     http.Header
	own, other *http.Transport
}

func newTransport(h hosts.Host, timing Timing) *hostTransport {
	dial := timing.Dial
	if h.DialTimeout > 0 {
		dial = h.DialTimeout
	}
	base := func() *http.Transport {
		t := &http.Transport{
			DialContext:            (&net.Dialer{Timeout: dial, KeepAlive: 15 * time.Second}).DialContext,
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        h.TLS.Clone(),
			TLSHandshakeTimeout:    max(dial, timing.Dial),
			ResponseHeaderTimeout:  timing.Answer,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxResponseHeader,
			ReadBufferSize:         readBuffer,
			// Blobs are compressed already, and their digests are of the bytes as stored.
			DisableCompression: true,
			Protocols:          new(http.Protocols),
		}
		// One connection for each layer: their flow control can't hold each other up.
		t.Protocols.SetHTTP1(true)
		if h.Proxy != nil {
			t.Proxy = http.ProxyURL(h.Proxy)
		}
		return t
	}
	t := &hostTransport{addr: h.Addr, header: h.Header, own: base(), other: base()}
	t.own.TLSClientConfig.Certificates = h.Client
	if h.Local {
		t.own.TLSClientConfig.InsecureSkipVerify = true
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != t.addr {
		return t.other.RoundTrip(req)
	}
	if len(t.header) > 0 {
		req = req.Clone(req.Context())
		for name, values := range t.header {
			if name != "Authorization" || req.Header.Get(name) == "" { // a token fetched for this request knows better
				req.Header[name] = values
			}
		}
	}
	resp, err := t.own.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		pickChallenge(resp.Header)
	}
	return resp, err
}

// pickChallenge leaves the challenge that is understood best, where a registry offers several; oras-go reads the first.
func pickChallenge(h http.Header) {
	const name = "Www-Authenticate"
	for _, scheme := range []string{"bearer", "basic"} {
		for _, value := range h.Values(name) {
			if word, _, _ := strings.Cut(value, " "); strings.EqualFold(word, scheme) {
				h.Set(name, value)
				return
			}
		}
	}
}

func (t *hostTransport) close() {
	t.own.CloseIdleConnections()
	t.other.CloseIdleConnections()
}

// checkRedirect refuses to leave https: what was asked for in secret must not be answered in the open. The
// Authorization header is dropped by oras-go whenever the origin changes.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch from := via[len(via)-1].URL; {
	case len(via) >= maxRedirects:
		return refuse("more than %d redirects", maxRedirects)
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return refuse("redirect to scheme %q", req.URL.Scheme)
	case from.Scheme == "https" && req.URL.Scheme == "http":
		return refuse("redirect from https to %s: plain http is used only where hosts.toml says so", origin(req.URL))
	case req.URL.User != nil:
		return refuse("redirect with a user in its URL")
	}
	return nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

func refuse(format string, args ...any) error {
	f := dataLoss(format, args...)
	f.kind = errdefs.ErrPermission
	return f
}
