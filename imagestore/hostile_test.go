package imagestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// isBlob tells whether a request is for the content of a blob.
func isBlob(r *http.Request, d digest.Digest) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+d.String())
}

func TestWrongContentLeavesNothing(t *testing.T) {
	one, two := tarOf(t, "x=1"), tarOf(t, "y=2")
	_, packed := gzipped(t, two)
	served := func(data []byte) func(h *hub, blob digest.Digest) {
		return func(h *hub, blob digest.Digest) {
			h.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if isBlob(r, blob) {
					_, _ = w.Write(data)
				}
				return isBlob(r, blob)
			})
		}
	}
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		change func(*ocispec.Image, *ocispec.Manifest)
		serve  func(*hub, digest.Digest)
		kind   error
		want   string
	}{
		"other bytes":   {nil, served(flipped), errdefs.ErrDataLoss, "not the sha256:"},
		"fewer bytes":   {nil, served(packed[:len(packed)-1]), errdefs.ErrDataLoss, "bytes, not the"},
		"more bytes":    {nil, served(append(bytes.Clone(packed), 0)), errdefs.ErrDataLoss, "bytes, not the"},
		"wrong diffID":  {func(c *ocispec.Image, _ *ocispec.Manifest) { c.RootFS.DiffIDs[1] = digest.FromString("x") }, nil, errdefs.ErrDataLoss, "unpacked layer"},
		"wrong size":    {func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers[1].Size-- }, nil, errdefs.ErrDataLoss, "bytes, not the"},
		"layer missing": {func(c *ocispec.Image, _ *ocispec.Manifest) { c.RootFS.DiffIDs = c.RootFS.DiffIDs[:1] }, nil, errdefs.ErrInvalid, "2 layers but the config 1"},
		"no tar": {func(c *ocispec.Image, m *ocispec.Manifest) {
			c.RootFS.DiffIDs[1] = m.Layers[0].Digest
			m.Layers[1] = m.Layers[0]
		}, nil, errdefs.ErrDataLoss, "unpacked layer"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			var last digest.Digest
			h.push("a", "latest", image{layers: [][]byte{one, two}, change: func(config *ocispec.Image, m *ocispec.Manifest) {
				last = m.Layers[1].Digest
				if c.change != nil {
					c.change(config, m)
				}
			}})
			if c.serve != nil {
				c.serve(h, last)
			}
			root := t.TempDir()
			s, shut := open(t, root)
			_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/a"})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), h.addr) {
				t.Errorf("%v", err)
			}
			if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("visible: %v, %v", list, err)
			}
			if left := layersOnDisk(t, root); len(left) > 1 {
				t.Errorf("layers: %v", left)
			}
			shut()
			for _, dir := range []string{"ingest", "overlay/tmp", "uses"} {
				if left := names(t, filepath.Join(root, dir)); len(left) != 0 {
					t.Errorf("left in %s: %v", dir, left)
				}
			}
		})
	}
}

func TestPlatformlessAndOddImagesAreRefused(t *testing.T) {
	h := newHub(t)
	h.push("chart", "latest", image{layers: [][]byte{tarOf(t, "x=1")}})
	config := h.blob("chart", "application/vnd.cncf.helm.config.v1+json", []byte("{}"))
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{config}}
	m.SchemaVersion = 2
	h.manifest("chart", "latest", ocispec.MediaTypeImageManifest, m)
	s, _ := open(t, t.TempDir())
	_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/chart"})
	if !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "helm") {
		t.Error(err)
	}
	_, err = s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/none"})
	if !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), h.addr+"/none:latest") {
		t.Error(err)
	}
}

func TestForeignURLsAreNotFollowed(t *testing.T) {
	h, trap := newHub(t), newHub(t)
	var asked atomic.Int32
	trap.intercept(func(http.ResponseWriter, *http.Request) bool { asked.Add(1); return false })
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1")}, change: func(_ *ocispec.Image, m *ocispec.Manifest) {
		m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		m.Layers[0].URLs = []string{"http://" + trap.addr + "/x"}
	}})
	s, _ := open(t, t.TempDir())
	pull(t, s, h.addr+"/a")
	if asked.Load() != 0 {
		t.Error("a URL of the image was asked")
	}
}

func TestDeadlineAndCancel(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{bigTar(t, 1, 1<<20)}})
	h.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-r.Context().Done()
		}
		return false
	})
	root := t.TempDir()
	s, _ := open(t, root)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Pull(ctx, imagestore.PullRequest{Ref: h.addr + "/a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if left := layersOnDisk(t, root); len(left) != 0 {
		t.Error(left)
	}
}

// hold delivers the first half of a blob and the rest when release is called. It tells when it was asked for.
func (h *hub) hold(d digest.Digest, data []byte) (asked <-chan struct{}, release func()) {
	first, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r, d) {
			return false
		}
		once.Do(func() { close(first) })
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http's own server
		select {
		case <-gate:
			_, _ = w.Write(data[len(data)/2:])
		case <-r.Context().Done():
		}
		return true
	})
	return first, func() { close(gate) }
}

func TestOneDownloadForAllWhoWantIt(t *testing.T) {
	h := newHub(t)
	shared := bigTar(t, 1, 1<<20)
	var blob digest.Digest
	note := func(_ *ocispec.Image, m *ocispec.Manifest) { blob = m.Layers[0].Digest }
	for i := range 3 {
		h.push(fmt.Sprintf("a%d", i), "latest", image{env: fmt.Sprint(i), layers: [][]byte{shared}, change: note})
	}
	root := t.TempDir()
	s, _ := open(t, root)
	_, data := gzipped(t, shared)
	asked, release := h.hold(blob, data)
	h.gets.Store(0)

	// The one that starts the download loses patience; the others get it all the same.
	first, giveUp := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Pull(first, imagestore.PullRequest{Ref: h.addr + "/a0"}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled pull: %v", err)
		}
	})
	<-asked
	joined := make(chan struct{}, 2)
	for i := 1; i < 3; i++ {
		wg.Go(func() {
			var once sync.Once
			_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: fmt.Sprintf("%s/a%d", h.addr, i), Progress: func(p imagestore.Progress) {
				if p.Done > 0 { // seen only by those who joined
					once.Do(func() { joined <- struct{}{} })
				}
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-joined
	<-joined
	giveUp()
	release()
	wg.Wait()
	if list, err := s.List(t.Context()); err != nil || len(list) != 2 || len(layersOnDisk(t, root)) != 1 {
		t.Errorf("%d images, %v", len(list), err)
	}
	if n := h.gets.Load(); n != 1+3 { // one layer and three configs
		t.Errorf("%d blobs were fetched", n)
	}
}

// cutAfter breaks the first download of a blob after n bytes, and all later ones at once until heal is called.
// It returns the Range headers it was asked with.
func (h *hub) cutAfter(d digest.Digest, data []byte, n int) (ranges func() []string, heal func()) {
	var mu sync.Mutex
	var list []string
	healed := false
	h.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r, d) {
			return false
		}
		mu.Lock()
		list = append(list, r.Header.Get("Range"))
		first, ok := len(list) == 1, healed
		mu.Unlock()
		switch {
		case ok:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		case first:
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data[:n])
			w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http's own server
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
		return true
	})
	return func() []string { mu.Lock(); defer mu.Unlock(); return list },
		func() { mu.Lock(); defer mu.Unlock(); healed = true }
}

func TestResumesAcrossARestart(t *testing.T) {
	const size, sent = 12 << 20, 7 << 20
	for name, damage := range map[string]bool{"intact": false, "tail lost in a power cut": true} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			var blob digest.Digest
			tar, small := bigTar(t, 1, size), tarOf(t, "x=1")
			_, data := plain(t, tar)
			h.push("a", "latest", image{pack: plain, layers: [][]byte{small, tar}, change: func(_ *ocispec.Image, m *ocispec.Manifest) { blob = m.Layers[1].Digest }})
			ranges, heal := h.cutAfter(blob, data, sent)
			root := t.TempDir()
			s, shut := open(t, root)
			_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/a"})
			if !errors.Is(err, errdefs.ErrPermission) || !strings.Contains(err.Error(), fmt.Sprintf("byte %d of %d", sent, len(data))) {
				t.Fatal(err)
			}
			shut()
			spools := names(t, filepath.Join(root, "ingest"))
			if len(spools) != 1 {
				t.Fatal(spools)
			}
			if damage {
				f, err := os.OpenFile(filepath.Join(root, "ingest", spools[0]), os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt(make([]byte, 4096), sent-4096); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			heal()
			before := len(ranges())
			s, _ = open(t, root)
			img := pull(t, s, h.addr+"/a")
			want := []string{fmt.Sprintf("bytes=%d-", sent)}
			if damage {
				want = append(want, "") // found wrong at the end, and fetched anew
			}
			if got := ranges()[before:]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("asked for %q, want %q", got, want)
			}
			if left := names(t, filepath.Join(root, "ingest")); len(left) != 0 {
				t.Error(left)
			}
			if err := s.Remove(t.Context(), img.ID); err != nil {
				t.Error(err)
			}
			expectNothing(t, s, root)
		})
	}
}

func TestLyingMirrorIsPassedOver(t *testing.T) {
	h, liar := newHub(t), newHub(t)
	var blob digest.Digest
	tar := bigTar(t, 1, 6<<20)
	h.push("a", "latest", image{layers: [][]byte{tar}, change: func(_ *ocispec.Image, m *ocispec.Manifest) { blob = m.Layers[0].Digest }})
	_, data := gzipped(t, tar)
	data[len(data)/2] ^= 1
	liar.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if isBlob(r, blob) {
			_, _ = w.Write(data)
			return true
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	certs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(certs, "r.invalid"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("server = \"http://%s\"\n[host.\"http://%s\"]\n", h.addr, liar.addr)
	if err := os.WriteFile(filepath.Join(certs, "r.invalid", "hosts.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := imagestore.Open(t.Context(), imagestore.Config{Root: t.TempDir(), CertsDir: certs, Timing: quick()})
	if err != nil {
		t.Fatal(err)
	}
	pull(t, s, "r.invalid/a")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestDiskFull(t *testing.T) {
	root := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", root, "tmpfs", 0, "size=70m"); err != nil {
		testutil.Skip(t, "mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	h := newHub(t)
	h.push("big", "latest", image{layers: [][]byte{bigTar(t, 1, 20<<20)}})
	zeros := tarOf(t, "zeros="+strings.Repeat("\x00", 75<<20))
	h.push("bomb", "latest", image{layers: [][]byte{zeros}})
	s, shut := open(t, root)
	h.gets.Store(0)
	_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/big"})
	if !errors.Is(err, errdefs.ErrExhausted) || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), "remove images") {
		t.Error(err)
	}
	if n := h.gets.Load(); n != 1 {
		t.Errorf("%d blobs were fetched, want the config only", n)
	}
	if _, err = s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/bomb"}); !errors.Is(err, errdefs.ErrExhausted) {
		t.Error(err)
	}
	expectNothing(t, s, root)
	shut()
}

func TestProgress(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{bigTar(t, 1, 3<<20), tarOf(t, "x=1")}})
	s, _ := open(t, t.TempDir())
	var last imagestore.Progress
	over := false
	_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/a", Progress: func(p imagestore.Progress) {
		if over || p.Done > p.Total && p.Total > 0 {
			t.Errorf("bad report %+v", p)
		}
		last = p
	}})
	over = true
	if err != nil || last.Stage != "commit" || last.Done != last.Total || last.Total < 3<<20 {
		t.Errorf("%+v, %v", last, err)
	}
}

func TestLoginIsAskedForEachPull(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1")}})
	s, _ := open(t, t.TempDir())
	img := pull(t, s, h.addr+"/a")
	h.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", "Basic realm=x")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	for _, name := range []string{img.Tags[0], img.Digests[0]} {
		if _, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: name}); !errors.Is(err, errdefs.ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
