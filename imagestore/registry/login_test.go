package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const password = "hunter2-secret"

func encoded(user string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// guarded serves manifests to one Authorization header and challenges all others.
func guarded(challenge, want string, asked *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != want {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":"you sent %s"}]}`, r.Header.Get("Authorization"))
			return
		}
		manifests(w, r)
	}
}

// tokens is a token server that knows user u with password, and a refresh token.
func tokens(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pw, basic := r.BasicAuth()
		refresh := r.Method == http.MethodPost && r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == "identity-"+password
		if !refresh && (!basic || user != "u" || pw != password) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"no %s %s"}]}`, user, pw)
			return
		}
		if r.FormValue("scope") != "repository:a:pull" || r.FormValue("service") != "svc" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "granted", "access_token": "granted"})
	}))
	t.Cleanup(s.Close)
	return s.URL + "/token"
}

func TestLogins(t *testing.T) {
	bearer := `Bearer realm="` + tokens(t) + `",service="svc"`
	for name, c := range map[string]struct {
		auth            registry.Auth
		challenge, want string
		kind            error
	}{
		"basic":               {registry.Auth{Username: "u", Password: password}, "Basic realm=x", "Basic " + encoded("u"), nil},
		"basic, encoded":      {registry.Auth{Auth: encoded("u")}, "Basic realm=x", "Basic " + encoded("u"), nil},
		"basic, none given":   {registry.Auth{}, "Basic realm=x", "Basic " + encoded("u"), errdefs.ErrUnauthenticated},
		"basic, wrong":        {registry.Auth{Username: "v", Password: password}, "Basic realm=x", "Basic " + encoded("u"), errdefs.ErrUnauthenticated},
		"bearer":              {registry.Auth{Username: "u", Password: password}, bearer, "Bearer granted", nil},
		"bearer, identity":    {registry.Auth{IdentityToken: "identity-" + password}, bearer, "Bearer granted", nil},
		"bearer, registry":    {registry.Auth{RegistryToken: "registry-" + password}, bearer, "Bearer registry-" + password, nil},
		"bearer, wrong":       {registry.Auth{Username: "v", Password: password}, bearer, "Bearer granted", errdefs.ErrUnauthenticated},
		"bearer, useless":     {registry.Auth{Username: "u", Password: password}, bearer, "Bearer never", errdefs.ErrUnauthenticated},
		"for another server":  {registry.Auth{Username: "u", Password: password, ServerAddress: "https://other.example"}, "Basic realm=x", "Basic " + encoded("u"), errdefs.ErrUnauthenticated},
		"realm on metadata":   {registry.Auth{Username: "u", Password: password}, `Bearer realm="http://169.254.169.254/x"`, "Bearer x", errdefs.ErrUnavailable},
		"realm of odd scheme": {registry.Auth{Username: "u", Password: password}, `Bearer realm="file:///x"`, "Bearer x", errdefs.ErrUnavailable},
	} {
		var asked atomic.Int32
		addr := server(t, guarded(c.challenge, c.want, &asked))
		for _, address := range []string{c.auth.ServerAddress, "http://" + addr + "/v1/"} {
			if address != c.auth.ServerAddress && c.auth.ServerAddress != "" {
				continue
			}
			a := c.auth
			a.ServerAddress = address
			asked.Store(0)
			_, err := session(t, addr+"/a", a, plain(addr)).Manifest(t.Context(), "x", "")
			if c.kind == nil && err != nil || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), encoded("u"))) {
				t.Errorf("%s: a secret shows: %v", name, err)
			}
			if asked.Load() > 2 {
				t.Errorf("%s: asked %d times", name, asked.Load())
			}
		}
	}
}

func TestBadEncodingOfLogin(t *testing.T) {
	for _, a := range []string{"%%%" + password, "bm9jb2xvbg=="} {
		dir := t.TempDir()
		_, err := registry.New(registry.Config{CertsDir: dir}).Session(ref(t, "r.invalid/a"), registry.Auth{Auth: a})
		if !errors.Is(err, errdefs.ErrInvalid) || strings.Contains(err.Error(), password) {
			t.Errorf("%v", err)
		}
	}
}

// spy notes the Authorization and X-Key headers that reach it.
type spy struct{ seen atomic.Value }

func (s *spy) note(r *http.Request) {
	s.seen.Store(r.Header.Get("Authorization") + r.Header.Get("X-Key"))
}

func TestSecretsStayWithTheirHost(t *testing.T) {
	var other spy
	stranger := server(t, func(w http.ResponseWriter, r *http.Request) { other.note(r); manifests(w, r) })
	var asked atomic.Int32
	serve := guarded("Basic realm=x", "Basic "+encoded("u"), &asked)
	addr := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" || r.Header.Get("X-Key") != "k" {
			serve(w, r)
			return
		}
		http.Redirect(w, r, "http://"+stranger+"/elsewhere?sig=s3cr3t", http.StatusTemporaryRedirect)
	})
	config := map[string]string{addr: fmt.Sprintf("server = \"http://%s\"\n[header]\nx-key = \"k\"\n", addr)}
	s := session(t, addr+"/a", registry.Auth{Username: "u", Password: password}, config)
	if _, err := s.Manifest(t.Context(), "x", ""); err != nil || other.seen.Load() != "" {
		t.Errorf("redirect took %q along: %v", other.seen.Load(), err)
	}

	mirror := server(t, func(w http.ResponseWriter, r *http.Request) {
		other.note(r)
		w.Header().Set("WWW-Authenticate", "Basic realm=x")
		w.WriteHeader(http.StatusUnauthorized)
	})
	config = map[string]string{addr: fmt.Sprintf("server = \"http://%s\"\n[host.\"http://%s\"]\n", stranger, mirror)}
	s = session(t, addr+"/a", registry.Auth{Username: "u", Password: password}, config)
	other.seen.Store("")
	if _, err := s.Manifest(t.Context(), "x", ""); err != nil || other.seen.Load() != "" {
		t.Errorf("mirror was given %q: %v", other.seen.Load(), err)
	}
}

func TestRedirectsOutOfTLSAreRefused(t *testing.T) {
	open := server(t, manifests)
	for _, target := range []string{"http://" + open + "/x?sig=s3cr3t", "file:///etc/passwd"} {
		secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusFound)
		}))
		t.Cleanup(secure.Close)
		addr := strings.TrimPrefix(secure.URL, "https://")
		_, err := session(t, addr+"/a", registry.Auth{}, nil).Manifest(t.Context(), "x", "")
		if !errors.Is(err, errdefs.ErrPermission) || !strings.Contains(err.Error(), "redirect") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestRedirectLoopEnds(t *testing.T) {
	addr := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	_, err := session(t, addr+"/a", registry.Auth{}, plain(addr)).Manifest(t.Context(), "x", "")
	if err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Error(err)
	}
}
