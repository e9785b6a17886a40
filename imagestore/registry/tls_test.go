package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(template, template, nil)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "berth test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue returns a certificate for 127.0.0.1, good for both ends of a connection, as PEM.
func (a *authority) issue() (certPEM, keyPEM []byte) {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// mutual is a registry that wants a client certificate.
func (a *authority) mutual() string {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.issue())
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s := httptest.NewUnstartedServer(http.HandlerFunc(manifests))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "https://")
}

func TestCertificates(t *testing.T) {
	a := newAuthority(t)
	addr := a.mutual()
	files := t.TempDir()
	cert, key := a.issue()
	for name, data := range map[string][]byte{
		"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), "me.cert": cert, "me.key": key, "both.pem": append(cert, key...),
	} {
		if err := os.WriteFile(filepath.Join(files, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"pair":        {"ca = %q\nclient = [[%q, %q]]", nil},
		"one file":    {"ca = [%q]\nclient = \"FILES/both.pem\"#%q%q", nil},
		"skip verify": {"skip_verify = true #%q\nclient = [[%q, %q]]", nil},
		"no ca":       {"#%q\nclient = [[%q, %q]]", errdefs.ErrUnavailable},
		"no client":   {"ca = %q #%q%q", errdefs.ErrUnavailable},
	} {
		text := fmt.Sprintf("server = \"https://%s\"\n"+c.text, addr, files+"/ca.crt", files+"/me.cert", files+"/me.key")
		text = strings.ReplaceAll(text, "FILES", files)
		_, err := session(t, "r.invalid/a", registry.Auth{}, map[string]string{"r.invalid": text}).Manifest(t.Context(), "x", "")
		if c.want == nil && err != nil || c.want != nil && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), "certificate")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSeveralChallenges(t *testing.T) {
	realm := tokens(t)
	addr := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer granted" {
			manifests(w, r)
			return
		}
		w.Header()["Www-Authenticate"] = []string{"Negotiate", `Basic realm="x"`, `Bearer realm="` + realm + `",service="svc"`}
		w.WriteHeader(http.StatusUnauthorized)
	})
	_, err := session(t, addr+"/a", registry.Auth{Username: "u", Password: password}, plain(addr)).Manifest(t.Context(), "x", "")
	if err != nil {
		t.Error(err)
	}
}

// TestALocalRegistrysTokenServerIsVerified: that a loopback registry's certificate is not verified says nothing about
// the servers that it names, which would get the login.
func TestALocalRegistrysTokenServerIsVerified(t *testing.T) {
	var told atomic.Int32
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told.Add(1) }))
	t.Cleanup(other.Close)
	local := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+other.URL+`/token",service="svc"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(local.Close)
	name := strings.TrimPrefix(local.URL, "https://") + "/a"
	_, err := session(t, name, registry.Auth{Username: "u", Password: password}, nil).Manifest(t.Context(), "x", "")
	if err == nil || !strings.Contains(err.Error(), "certificate") || told.Load() > 0 {
		t.Errorf("the token server was asked %d times: %v", told.Load(), err)
	}
}
