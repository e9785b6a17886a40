package registry_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/registry"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// start serves one random image as a/b:1.
func start(t *testing.T, auth registry.Auth) (*registry.Server, v1.Image) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	path, err := layout.Write(dir, empty.Index)
	testutil.Must(t, err)
	img, err := random.Image(100<<10, 2)
	testutil.Must(t, err)
	testutil.Must(t, path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "a/b:1"})))
	s, err := registry.Start(registry.Config{Layouts: []string{dir}, Auth: auth})
	testutil.Must(t, err)
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, img
}

// pull copies a/b:1 with another client's library, which verifies digests and sizes, and returns the manifest's digest.
func pull(t *testing.T, s *registry.Server, password string) (string, error) {
	t.Helper()
	repo, err := remote.NewRepository(s.Addr() + "/a/b")
	testutil.Must(t, err)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	repo.PlainHTTP = true
	repo.Client = &auth.Client{
		Client:     &http.Client{Transport: transport},
		Credential: auth.StaticCredential(s.Addr(), auth.Credential{Username: "u", Password: password}),
	}
	d, err := oras.Copy(t.Context(), repo, "1", memory.New(), "", oras.DefaultCopyOptions)
	return d.Digest.String(), err
}

func TestAnotherClientPulls(t *testing.T) {
	for _, scheme := range []registry.Scheme{registry.Open, registry.Basic, registry.Bearer} {
		t.Run("scheme "+string(scheme), func(t *testing.T) {
			s, img := start(t, registry.Auth{Scheme: scheme, User: "u", Password: "p"})
			want, err := img.Digest()
			testutil.Must(t, err)
			if d, err := pull(t, s, "p"); err != nil || d != want.String() {
				t.Errorf("digest %v, %v; want %v", d, err, want)
			}
			if scheme == registry.Open {
				return
			}
			if _, err := pull(t, s, "wrong"); err == nil {
				t.Error("a wrong password pulls")
			}
		})
	}
}

// answer is what a client sees of a response.
type answer struct {
	status           int
	retryAfter, body string
}

func TestFaults(t *testing.T) {
	s, img := start(t, registry.Auth{})
	layers, err := img.Layers()
	testutil.Must(t, err)
	d, err := layers[0].Digest()
	testutil.Must(t, err)
	size, err := layers[0].Size()
	testutil.Must(t, err)
	get := func() (answer, error) {
		resp, err := http.Get(s.URL() + "/v2/a/b/blobs/" + d.String())
		if err != nil {
			return answer{}, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return answer{resp.StatusCode, resp.Header.Get("Retry-After"), string(body)}, err
	}
	clean, err := get()
	testutil.Must(t, err)
	if int64(len(clean.body)) != size {
		t.Fatalf("%d bytes without a fault, want %d", len(clean.body), size)
	}
	for name, c := range map[string]struct {
		fault registry.Fault
		check func(a answer, err error) bool
	}{
		"status":   {registry.Fault{Status: 429, RetryAfter: "7"}, func(a answer, err error) bool { return err == nil && a.status == 429 && a.retryAfter == "7" }},
		"truncate": {registry.Fault{Truncate: 100}, func(a answer, err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) && len(a.body) <= 100 }},
		"extra":    {registry.Fault{Extra: 50_000}, func(a answer, err error) bool { return err == nil && len(a.body) == len(clean.body)+50_000 }},
		"corrupt":  {registry.Fault{Corrupt: true}, func(a answer, err error) bool { return err == nil && len(a.body) == len(clean.body) && a != clean }},
	} {
		t.Run(name, func(t *testing.T) {
			c.fault.Match, c.fault.Times = "/blobs/", 1
			s.Inject(c.fault)
			if a, err := get(); !c.check(a, err) {
				t.Errorf("fault did not show: status %d, %d bytes, %v", a.status, len(a.body), err)
			}
			if a, err := get(); err != nil || a != clean {
				t.Errorf("the fault stays after its one time: %v", err)
			}
		})
	}
}

func TestRateSlowsTheBody(t *testing.T) {
	s, img := start(t, registry.Auth{})
	m, err := img.Digest()
	testutil.Must(t, err)
	s.Inject(registry.Fault{Rate: 2000})
	began := time.Now()
	resp, err := http.Get(s.URL() + "/v2/a/b/manifests/" + m.String())
	testutil.Must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	testutil.Must(t, err)
	if least := time.Duration(len(body)) * time.Second / 2000; time.Since(began) < least/2 {
		t.Errorf("%d bytes in %v, want about %v", len(body), time.Since(began), least)
	}
}

func TestRangesAndHosts(t *testing.T) {
	s, img := start(t, registry.Auth{})
	layers, err := img.Layers()
	testutil.Must(t, err)
	d, err := layers[1].Digest()
	testutil.Must(t, err)
	req, err := http.NewRequest(http.MethodGet, s.URL()+"/v2/a/b/blobs/"+d.String(), nil)
	testutil.Must(t, err)
	req.Header.Set("Range", "bytes=10-19")
	resp, err := http.DefaultClient.Do(req)
	testutil.Must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	testutil.Must(t, err)
	if resp.StatusCode != http.StatusPartialContent || len(body) != 10 {
		t.Errorf("status %d, %d bytes", resp.StatusCode, len(body))
	}
	dir := t.TempDir()
	testutil.Must(t, s.WriteHosts(dir, "registry.k8s.io"))
	text, err := os.ReadFile(filepath.Join(dir, "registry.k8s.io", "hosts.toml"))
	testutil.Must(t, err)
	if !strings.Contains(string(text), "[host.\""+s.URL()+"\"]") {
		t.Errorf("hosts.toml:\n%s", text)
	}
}
