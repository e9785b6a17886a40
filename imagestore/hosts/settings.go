package hosts

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"golang.org/x/net/http/httpguts"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func (t table) applyHeader(h *Host) error {
	for name, value := range t.Header {
		list, ok := stringList(value)
		if !ok {
			return errdefs.Invalid("header %q is not a string or a list of strings", name)
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return errdefs.Invalid("header %q has a bad name", name)
		}
		for _, v := range list {
			if !httpguts.ValidHeaderFieldValue(v) {
				return errdefs.Invalid("header %q has a bad value", name) // not shown: it may be a secret
			}
			if h.Header == nil {
				h.Header = http.Header{}
			}
			h.Header.Add(name, v)
		}
	}
	return nil
}

func (t table) applyProxy(h *Host) error {
	if t.Proxy == "" {
		return nil
	}
	u, err := url.Parse(t.Proxy)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return errdefs.Invalid("proxy is not a URL like http://proxy.example:3128") // not shown: it may hold a password
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		h.Proxy = u
		return nil
	}
	return errdefs.Invalid("proxy scheme %q is not http, https, socks5 or socks5h", u.Scheme)
}

func (t table) applyCertificates(h *Host, folder string) error {
	var cas []string
	if t.CA != nil {
		list, ok := stringList(t.CA)
		if !ok {
			return errdefs.Invalid("ca is not a path or a list of paths")
		}
		cas = list
		if t.SkipVerify == nil {
			h.Local = false // a loopback registry with a CA of its own is meant to be verified
		}
	}
	pairs, ok := certificatePairs(t.Client)
	if !ok {
		return errdefs.Invalid("client is not a path, a list of paths, or a list of pairs [certificate, key]")
	}
	return h.loadCertificates(folder, cas, pairs)
}

// loadCertificates adds CAs to the system's, and client certificates with their keys (in the same file if the pair's
// second is empty).
func (h *Host) loadCertificates(folder string, cas []string, pairs [][2]string) error {
	for _, ca := range cas {
		data, err := readBounded(within(folder, ca))
		if err != nil {
			return fmt.Errorf("read ca: %w", err)
		}
		if h.TLS.RootCAs == nil {
			if h.TLS.RootCAs, err = x509.SystemCertPool(); err != nil {
				h.TLS.RootCAs = x509.NewCertPool() // a node without CAs of its own: these are all there are
			}
		}
		if !h.TLS.RootCAs.AppendCertsFromPEM(data) {
			return errdefs.Invalid("ca %s holds no PEM certificate", ca)
		}
	}
	for _, p := range pairs {
		certificate, key := within(folder, p[0]), within(folder, p[1])
		if p[1] == "" {
			key = certificate
		}
		pair, err := loadPair(certificate, key)
		if err != nil {
			return err
		}
		h.Client = append(h.Client, pair)
	}
	return nil
}

func loadPair(certificate, key string) (tls.Certificate, error) {
	certPEM, err := readBounded(certificate)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read client certificate: %w", err)
	}
	keyPEM, err := readBounded(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read client key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, errdefs.Invalid("client certificate %s with key %s: %w", certificate, key, err)
	}
	return pair, nil
}

func within(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// stringList reads a string or a list of strings.
func stringList(v any) ([]string, bool) {
	if s, ok := v.(string); ok {
		return []string{s}, true
	}
	items, ok := v.([]any)
	list := make([]string, 0, len(items))
	for _, item := range items {
		s, isString := item.(string)
		ok = ok && isString
		list = append(list, s)
	}
	return list, ok
}

// certificatePairs reads the three spellings of client: a path, paths, or pairs of certificate and key.
func certificatePairs(v any) ([][2]string, bool) {
	if v == nil {
		return nil, true
	}
	if s, ok := v.(string); ok {
		return [][2]string{{s}}, true
	}
	items, ok := v.([]any)
	var pairs [][2]string
	for _, item := range items {
		list, isList := stringList(item)
		if !isList || len(list) == 0 || len(list) > 2 {
			return nil, false
		}
		pair := [2]string{list[0]}
		if len(list) == 2 {
			pair[1] = list[1]
		}
		pairs = append(pairs, pair)
	}
	return pairs, ok
}
