package hosts

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	dockerHub       = "docker.io"
	dockerHubServer = "registry-1.docker.io"
	apiRoot         = "/v2"
)

// Host is one server to ask.
type Host struct {
	Scheme    string // "https", "http", or "" for a loopback registry that may speak either: ask it
	Addr      string // "registry-1.docker.io", "[::1]:5000"
	Path      string // API root without a slash at its end, "/v2" unless the path is overridden
	Namespace string // value of the ns parameter; "" when Addr is the registry itself

	Resolve bool // trusted to say which digest a tag means
	Pull    bool // may deliver what a digest names

	// Trusted with the credentials given for the registry: it is the registry itself, or the server that the
	// registry's own hosts.toml names. Mirrors and the server of _default aren't.
	Trusted bool

	// Local tells that Addr's own certificate is not verified, as nobody said that it should be and it is a loopback address.
	// Other servers that it names (for tokens, for blobs) are verified.
	Local bool

	TLS         *tls.Config       // CA pool and skip_verify; never nil
	Client      []tls.Certificate // shown to Addr only
	Header      http.Header       // sent to Addr only
	Proxy       *url.URL          // nil: from the environment
	DialTimeout time.Duration     // 0: the client's default
}

// String names the host in errors, without anything secret.
func (h Host) String() string {
	scheme := h.Scheme
	if scheme == "" {
		scheme = "https or http"
	}
	return scheme + "://" + h.Addr
}

// own is the registry itself, without any configuration.
func own(registry string) Host {
	h := Host{Addr: registry, Scheme: "https", Path: apiRoot, Resolve: true, Pull: true, Trusted: true, TLS: newTLS()}
	if registry == dockerHub {
		h.Addr = dockerHubServer
	}
	if name, port := splitPort(registry); isLoopback(name) {
		h.Local = true // as Docker does: whoever can listen on loopback owns the node
		switch port {
		case "", "80":
			h.Scheme = "http"
		case "443":
		default:
			h.Scheme = ""
		}
	}
	return h
}

func newTLS() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }

// isLoopback tells whether plain http is allowed without being configured, as for Docker: 127.0.0.0/8, ::1, localhost.
func isLoopback(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

func splitPort(addr string) (name, port string) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 || strings.HasSuffix(addr, "]") {
		return addr, ""
	}
	return addr[:i], addr[i+1:]
}

// isRegistry tells whether a host is the registry itself under one of its names.
func isRegistry(addr, registry string) bool {
	return addr == registry || registry == dockerHub && addr == dockerHubServer
}
