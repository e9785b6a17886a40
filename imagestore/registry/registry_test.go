package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// patient retries at once but gives a loaded machine time to answer.
func patient() registry.Timing {
	return registry.Timing{
		Answer: 30 * time.Second, Metadata: 30 * time.Second, StallAfter: 30 * time.Second, StallBytes: 1 << 10,
		Backoff: time.Millisecond, MaxWait: 2 * time.Second, Attempts: 3,
	}
}

// impatient is for servers that never do what they should.
func impatient() registry.Timing {
	t := patient()
	t.StallAfter = 300 * time.Millisecond
	return t
}

const doc = `{"schemaVersion":2}`

var docDigest = digest.FromString(doc)

// server runs a handler on loopback and returns its address.
func server(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// manifests serves doc under any name.
func manifests(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	fmt.Fprint(w, doc)
}

// session opens one for name, with hosts.toml texts by registry.
func session(t *testing.T, name string, a registry.Auth, hosts map[string]string) *registry.Session {
	t.Helper()
	return sessionWith(t, patient(), name, a, hosts)
}

func sessionWith(t *testing.T, timing registry.Timing, name string, a registry.Auth, hosts map[string]string) *registry.Session {
	t.Helper()
	dir := t.TempDir()
	for folder, text := range hosts {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, folder, "hosts.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := registry.New(registry.Config{CertsDir: dir, Timing: timing}).Session(ref, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestManifestByTagAndDigest(t *testing.T) {
	addr := server(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), ocispec.MediaTypeImageIndex) || !strings.HasPrefix(r.URL.Path, "/v2/a/b/manifests/") {
			http.Error(w, "bad request "+r.URL.Path, http.StatusBadRequest)
			return
		}
		manifests(w, r)
	})
	s := session(t, addr+"/a/b", registry.Auth{}, nil)
	for _, d := range []digest.Digest{"", docDigest} {
		m, err := s.Manifest(t.Context(), "latest", d)
		if err != nil || m.Digest != docDigest || m.MediaType != ocispec.MediaTypeImageManifest || string(m.Data) != doc {
			t.Errorf("by %q: %+v, %v", d, m, err)
		}
	}
	if _, err := s.Manifest(t.Context(), "", digest.FromString("other")); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("wrong digest: %v", err)
	}
}

func TestLoopbackMaySpeakTLS(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(manifests))
	t.Cleanup(secure.Close)
	s := session(t, strings.TrimPrefix(secure.URL, "https://")+"/a", registry.Auth{}, nil)
	if _, err := s.Manifest(t.Context(), "x", ""); err != nil {
		t.Fatal(err)
	}
}

func TestKindsOfRefusal(t *testing.T) {
	for status, want := range map[int]error{
		401: errdefs.ErrUnauthenticated, 403: errdefs.ErrPermission, 404: errdefs.ErrNotFound, 400: errdefs.ErrFailedPrecondition,
		500: errdefs.ErrUnavailable, 503: errdefs.ErrUnavailable, 429: errdefs.ErrUnavailable,
	} {
		var asked atomic.Int32
		addr := server(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(status)
			fmt.Fprint(w, `{"errors":[{"code":"WHY","message":"because\n"}]}`)
		})
		learnPlain(t, addr)
		asked.Store(0)
		_, err := session(t, addr+"/a", registry.Auth{}, plain(addr)).Manifest(t.Context(), "x", "")
		if !errors.Is(err, want) || !strings.Contains(err.Error(), strconv.Itoa(status)) || !strings.Contains(err.Error(), "WHY because") {
			t.Errorf("%d: %v", status, err)
		}
		if n, again := asked.Load(), status >= 429; (n > 1) != again {
			t.Errorf("%d: asked %d times", status, n)
		}
	}
}

// learnPlain makes sure that a server is up.
func learnPlain(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// plain is a hosts.toml that says http, so that nothing is probed.
func plain(addr string) map[string]string {
	return map[string]string{addr: `server = "http://` + addr + `"`}
}

func TestDownRegistryAndFallback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var ns atomic.Value
	mirror := server(t, func(w http.ResponseWriter, r *http.Request) {
		ns.Store(r.URL.Query().Get("ns"))
		manifests(w, r)
	})
	broken := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })

	_, err = session(t, down+"/a", registry.Auth{}, nil).Manifest(t.Context(), "x", "")
	if !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), down) {
		t.Errorf("down: %v", err)
	}
	config := fmt.Sprintf("[host.\"http://%s\"]\n[host.\"http://%s\"]\n[host.\"http://%s\"]\n", down, broken, mirror)
	s := session(t, "r.invalid/a", registry.Auth{}, map[string]string{"r.invalid": config})
	if _, err := s.Manifest(t.Context(), "x", ""); err != nil || ns.Load() != "r.invalid" {
		t.Errorf("mirror: %v, ns %v", err, ns.Load())
	}
	config = fmt.Sprintf("server = \"http://%s\"\n[host.\"http://%s\"]\n", broken, down)
	_, err = session(t, "r.invalid/a", registry.Auth{}, map[string]string{"r.invalid": config}).Manifest(t.Context(), "x", "")
	if !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), down) || !strings.Contains(err.Error(), broken) ||
		!strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "404") {
		t.Errorf("all fail: %v", err)
	}
}

func TestMirrorWithoutResolveIsNotAskedForTags(t *testing.T) {
	mirror := server(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"evil":1}`) })
	upstream := server(t, manifests)
	config := fmt.Sprintf("server = \"http://%s\"\n[host.\"http://%s\"]\ncapabilities = [\"pull\"]\n", upstream, mirror)
	s := session(t, "r.invalid/a", registry.Auth{}, map[string]string{"r.invalid": config})
	for _, d := range []digest.Digest{"", docDigest} { // by digest the mirror is asked, lies, and is passed over
		if m, err := s.Manifest(t.Context(), "x", d); err != nil || m.Digest != docDigest {
			t.Errorf("%q: %+v, %v", d, m, err)
		}
	}
}

func TestManifestBounds(t *testing.T) {
	huge := server(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 5<<20))
	})
	_, err := session(t, huge+"/a", registry.Auth{}, plain(huge)).Manifest(t.Context(), "x", "")
	if err == nil || !strings.Contains(err.Error(), "larger than 4194304") {
		t.Errorf("huge: %v", err)
	}
	drip := server(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			fmt.Fprint(w, " ")
			w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http's own server
			time.Sleep(10 * time.Millisecond)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err = session(t, drip+"/a", registry.Auth{}, plain(drip)).Manifest(ctx, "x", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("caller's deadline: %v", err)
	}
	timing := patient()
	timing.Metadata = 300 * time.Millisecond
	_, err = sessionWith(t, timing, drip+"/a", registry.Auth{}, plain(drip)).Manifest(t.Context(), "x", "")
	if !errors.Is(err, errdefs.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("own time-out: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTooManyRequests(t *testing.T) {
	var asked atomic.Int32
	addr := server(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		manifests(w, r)
	})
	s := session(t, addr+"/a", registry.Auth{}, plain(addr))
	start := time.Now()
	if _, err := s.Manifest(t.Context(), "x", ""); err != nil || time.Since(start) < 900*time.Millisecond {
		t.Errorf("asked again after %v: %v", time.Since(start), err)
	}
	never := server(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	asked.Store(0)
	s = session(t, never+"/a", registry.Auth{}, plain(never))
	for range 2 {
		if _, err := s.Manifest(t.Context(), "x", ""); !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), "429") {
			t.Errorf("an hour: %v", err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times a host that wants to be left alone", asked.Load())
	}
}

func TestDownloadHealsItself(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	blob := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	var n atomic.Int32
	for name, h := range map[string]http.HandlerFunc{
		"cut, with ranges": func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) < 3 {
				w = &cut{w, 300_000}
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		},
		"cut, ranges ignored": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			if n.Add(1) < 3 {
				w = &cut{w, 300_000}
			}
			_, _ = w.Write(data)
		},
		"stalls once": func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				w.Header().Set("Content-Length", strconv.Itoa(len(data)))
				_, _ = w.Write(data[:100_000])
				w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http's own server
				<-r.Context().Done()
				return
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		},
	} {
		n.Store(0)
		addr := server(t, h)
		d := sessionWith(t, impatient(), addr+"/a", registry.Auth{}, plain(addr)).Download(t.Context(), blob, 0)
		got, err := io.ReadAll(d)
		if err != nil || !bytes.Equal(got, data) || n.Load() < 2 {
			t.Errorf("%s: %d bytes after %d requests, %v", name, len(got), n.Load(), err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// cut breaks the connection after some bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http's own server
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestDownloadGivesUp(t *testing.T) {
	blob := ocispec.Descriptor{Digest: docDigest, Size: 1000}
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		kind error
		want string
	}{
		"wrong length": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "short") }, errdefs.ErrDataLoss, "5 bytes, not the 1000"},
		"wrong range": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-999/1000")
			w.WriteHeader(http.StatusPartialContent)
		}, errdefs.ErrDataLoss, "Content-Range"},
		"drips": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			for r.Context().Err() == nil {
				fmt.Fprint(w, "x")
				w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http's own server
				time.Sleep(20 * time.Millisecond)
			}
		}, errdefs.ErrUnavailable, "stalled"},
		"missing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, errdefs.ErrNotFound, "404"},
	} {
		addr := server(t, c.h)
		offset := int64(0)
		if name == "wrong range" {
			offset = 500
		}
		d := sessionWith(t, impatient(), addr+"/a", registry.Auth{}, plain(addr)).Download(t.Context(), blob, offset)
		_, err := io.ReadAll(d)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func ref(t *testing.T, name string) reference.Reference {
	t.Helper()
	r, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
