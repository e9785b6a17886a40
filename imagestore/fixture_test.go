package imagestore_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore"
	berthregistry "github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) {
	if os.Getenv(envCrash) != "" {
		os.Exit(crashingChild())
	}
	testutil.Main(m)
}

// hub is a real registry on loopback, behind whatever a test puts in front of it.
type hub struct {
	t    testing.TB
	addr string
	// front may answer a request itself and return true.
	front atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	gets  atomic.Int64 // of blobs
}

func newHub(t testing.TB) *hub {
	t.Helper()
	h := &hub{t: t}
	back := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			h.gets.Add(1)
		}
		if front := h.front.Load(); front != nil && (*front)(w, r) {
			return
		}
		back.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	h.addr = strings.TrimPrefix(s.URL, "http://")
	return h
}

func (h *hub) intercept(front func(http.ResponseWriter, *http.Request) bool) { h.front.Store(&front) }
func (h *hub) normal()                                                       { h.front.Store(nil) }

// send uploads in one request (distribution specification, section "Pushing blobs", single POST; and manifests).
func (h *hub) send(method, path, mediaType string, body []byte) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.addr+"/v2/"+path, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		h.t.Fatalf("push %s: %s %s %v", path, resp.Status, text, err)
	}
}

func (h *hub) blob(repo, mediaType string, data []byte) ocispec.Descriptor {
	h.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	h.send(http.MethodPost, repo+"/blobs/uploads/?digest="+url.QueryEscape(d.Digest.String()), "application/octet-stream", data)
	return d
}

func (h *hub) manifest(repo, tag, mediaType string, doc any) ocispec.Descriptor {
	h.t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		h.t.Fatal(err)
	}
	h.send(http.MethodPut, repo+"/manifests/"+tag, mediaType, data)
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// packing compresses a layer.
type packing func(testing.TB, []byte) (mediaType string, data []byte)

func plain(_ testing.TB, data []byte) (string, []byte) { return ocispec.MediaTypeImageLayer, data }

func gzipped(t testing.TB, data []byte) (string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return ocispec.MediaTypeImageLayerGzip, b.Bytes()
}

func zstded(t testing.TB, data []byte) (string, []byte) {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.MediaTypeImageLayerZstd, w.EncodeAll(data, nil)
}

// image is what a test pushes.
type image struct {
	layers   [][]byte // tars
	pack     packing
	platform ocispec.Platform
	env      string
	change   func(config *ocispec.Image, m *ocispec.Manifest)
}

// push puts an image into a repository under a tag.
func (h *hub) push(repo, tag string, i image) (manifest, config ocispec.Descriptor) {
	h.t.Helper()
	if i.pack == nil {
		i.pack = gzipped
	}
	if i.platform.OS == "" {
		i.platform = ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	c := ocispec.Image{Platform: i.platform, RootFS: ocispec.RootFS{Type: "layers"}, Config: ocispec.ImageConfig{Env: []string{i.env}}}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	for _, l := range i.layers {
		mediaType, data := i.pack(h.t, l)
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(l))
		m.Layers = append(m.Layers, h.blob(repo, mediaType, data))
	}
	if i.change != nil {
		i.change(&c, &m)
	}
	data, err := json.Marshal(c)
	if err != nil {
		h.t.Fatal(err)
	}
	m.Config = h.blob(repo, ocispec.MediaTypeImageConfig, data)
	return h.manifest(repo, tag, ocispec.MediaTypeImageManifest, m), m.Config
}

// tarOf makes a layer of files; a name that ends in a slash is a folder.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg, ModTime: time.Unix(1e9, 0)}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bigTar makes a layer of random-like content, which hardly compresses.
func bigTar(t testing.TB, seed byte, size int) []byte {
	t.Helper()
	content := make([]byte, size)
	x := uint64(seed) + 0x9e3779b97f4a7c15
	for i := range content {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		content[i] = byte(x)
	}
	return tarOf(t, fmt.Sprintf("big%d=%s", seed, content))
}

func quick() berthregistry.Timing {
	return berthregistry.Timing{
		Answer: 30 * time.Second, Metadata: 30 * time.Second, StallAfter: 30 * time.Second, StallBytes: 1 << 10,
		Backoff: time.Millisecond, MaxWait: time.Second, Attempts: 3,
	}
}

// open opens a store that is closed at the test's end, or earlier by the returned function.
func open(t testing.TB, root string) (*imagestore.Store, func()) {
	t.Helper()
	s, err := imagestore.Open(t.Context(), imagestore.Config{Root: root, Timing: quick(), Pinned: []string{"pinned.invalid/a"}})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	shut := func() {
		if closed {
			return
		}
		closed = true
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(shut)
	return s, shut
}

func pull(t testing.TB, s *imagestore.Store, name string) imagestore.Image {
	t.Helper()
	img, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: name})
	if err != nil {
		t.Fatal(err)
	}
	return img
}
