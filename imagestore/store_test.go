package imagestore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// content reads a whole mount: path → content of its files.
func content(t *testing.T, mount *os.File) map[string]string {
	t.Helper()
	defer func() {
		if err := mount.Close(); err != nil {
			t.Error(err)
		}
	}()
	got := map[string]string{}
	root := os.DirFS(fmt.Sprintf("/proc/self/fd/%d", mount.Fd()))
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, path)
		got[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPullMountRemove(t *testing.T) {
	for name, pack := range map[string]packing{"gzip": gzipped, "zstd": zstded, "plain": plain} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			m, c := h.push("a/b", "v1", image{pack: pack, env: "A=1", layers: [][]byte{
				tarOf(t, "etc/", "etc/one=1", "etc/two=2", "gone/", "gone/x=x"),
				tarOf(t, "etc/", "etc/.wh.one=", "gone/", "gone/.wh..wh..opq=", "gone/y=y"),
				tarOf(t, "etc/", "etc/two=22"),
			}})
			root := t.TempDir()
			s, shut := open(t, root)
			img := pull(t, s, h.addr+"/a/b:v1")
			if img.ID != c.Digest.String() || len(img.Layers) != 3 || img.Config.Config.Env[0] != "A=1" || img.Size <= 0 {
				t.Errorf("%+v", img)
			}
			if diff := cmp.Diff([][]string{{h.addr + "/a/b:v1"}, {h.addr + "/a/b@" + m.Digest.String()}}, [][]string{img.Tags, img.Digests}); diff != "" {
				t.Error(diff)
			}
			shut()
			s, _ = open(t, root) // an answered pull is there after a restart
			hex := c.Digest.Encoded()
			for _, by := range []string{img.ID, hex, hex[:12], "sha256:" + hex[:12], img.Tags[0], img.Digests[0], h.addr + "/a/b:other@" + m.Digest.String()} {
				got, err := s.Resolve(t.Context(), by)
				if err != nil {
					t.Errorf("%s: %v", by, err)
				}
				if diff := cmp.Diff(img, got); diff != "" {
					t.Errorf("%s: %s", by, diff)
				}
			}
			if err := s.Prepare(t.Context(), "c1", img.ID); err != nil {
				t.Fatal(err)
			}
			f, err := s.Mount(t.Context(), "c1", snapshot.As{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"etc/two": "22", "gone/y": "y"}, content(t, f)); diff != "" {
				t.Error(diff)
			}
			if err := s.Discard(t.Context(), "c1"); err != nil {
				t.Error(err)
			}
			if err := s.Remove(t.Context(), hex[:12]); err != nil {
				t.Error(err)
			}
			expectNothing(t, s, root)
		})
	}
}

// expectNothing checks that no trace of an image is left.
func expectNothing(t *testing.T, s *imagestore.Store, root string) {
	t.Helper()
	list, err := s.List(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("images left: %v, %v", list, err)
	}
	if left := layersOnDisk(t, root); len(left) != 0 {
		t.Errorf("layers left: %v", left)
	}
	if left := names(t, filepath.Join(root, "ingest")); len(left) != 0 {
		t.Errorf("downloads left: %v", left)
	}
	tmp := filepath.Join(root, "overlay", "tmp") // discarded snapshots are deleted in the background
	left := names(t, tmp)
	for end := time.Now().Add(10 * time.Second); len(left) != 0 && time.Now().Before(end); left = names(t, tmp) {
		runtime.Gosched()
	}
	if len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func layersOnDisk(t *testing.T, root string) []string {
	t.Helper()
	return names(t, filepath.Join(root, "overlay", "layers"))
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestNamesByTagAndDigest(t *testing.T) {
	h := newHub(t)
	m, _ := h.push("a", "v1", image{layers: [][]byte{tarOf(t, "x=1")}})
	h.push("a", "v2", image{layers: [][]byte{tarOf(t, "x=2")}})
	s, _ := open(t, t.TempDir())
	byDigest := h.addr + "/a@" + m.Digest.String()
	for _, name := range []string{byDigest, h.addr + "/a:v2@" + m.Digest.String()} { // the digest wins over a tag that means another
		img := pull(t, s, name)
		if diff := cmp.Diff([][]string{nil, {byDigest}}, [][]string{img.Tags, img.Digests}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if img := pull(t, s, h.addr+"/a:v1"); len(img.Tags) != 1 || len(img.Digests) != 1 {
		t.Errorf("%+v", img)
	}
	if img := pull(t, s, byDigest); len(img.Tags) != 1 { // what is known stays
		t.Errorf("%+v", img)
	}
}

func TestOneImageUnderManyNames(t *testing.T) {
	h := newHub(t)
	i := image{layers: [][]byte{tarOf(t, "x=1")}}
	s, _ := open(t, t.TempDir())
	var img imagestore.Image
	for _, repo := range []string{"a", "b"} {
		for _, tag := range []string{"v1", "v2"} {
			h.push(repo, tag, i)
			img = pull(t, s, h.addr+"/"+repo+":"+tag)
		}
	}
	if len(img.Tags) != 4 || len(img.Digests) != 2 {
		t.Errorf("%+v", img)
	}
	if err := s.Remove(t.Context(), h.addr+"/b:v1"); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(img.Tags, img.ID) {
		if _, err := s.Resolve(t.Context(), name); !errors.Is(err, errdefs.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMovedTag(t *testing.T) {
	h := newHub(t)
	s, _ := open(t, t.TempDir())
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1")}})
	before := pull(t, s, h.addr+"/a")
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=2")}})
	after := pull(t, s, h.addr+"/a")
	old, err := s.Resolve(t.Context(), before.ID)
	if err != nil || len(old.Tags) != 0 || len(old.Digests) != 1 || after.ID == before.ID {
		t.Errorf("old %+v, new %+v, %v", old, after, err)
	}
	if now, err := s.Resolve(t.Context(), h.addr+"/a:latest"); err != nil || now.ID != after.ID {
		t.Errorf("%+v, %v", now, err)
	}
}

func TestIndexAndPlatform(t *testing.T) {
	h := newHub(t)
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	index.SchemaVersion = 2
	for _, arch := range []string{"arm64", "amd64"} {
		p := ocispec.Platform{OS: "linux", Architecture: arch}
		d, _ := h.push("a", arch, image{platform: p, layers: [][]byte{tarOf(t, "arch="+arch)}})
		d.Platform = &p
		index.Manifests = append(index.Manifests, d)
	}
	top := h.manifest("a", "latest", ocispec.MediaTypeImageIndex, index)
	s, _ := open(t, t.TempDir())
	for platform, arch := range map[string]string{"linux/amd64": "amd64", "linux/arm64/v8": "arm64"} {
		img, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/a", Platform: platform})
		if err != nil || img.Config.Architecture != arch || img.Digests[0] != h.addr+"/a@"+top.Digest.String() {
			t.Errorf("%s: %+v, %v", platform, img, err)
		}
	}
	_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/a", Platform: "linux/s390x"})
	if !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), "linux/arm64, linux/amd64") {
		t.Error(err)
	}
	_, err = s.Pull(t.Context(), imagestore.PullRequest{Ref: h.addr + "/a:arm64", Platform: "linux/amd64"})
	if !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Error(err)
	}
}

func TestIndexWithinIndex(t *testing.T) {
	h := newHub(t)
	d, _ := h.push("a", "image", image{layers: [][]byte{tarOf(t, "x=1")}})
	s, _ := open(t, t.TempDir())
	for depth := 1; depth <= 4; depth++ {
		d.Platform = &ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
		index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}}
		index.SchemaVersion = 2
		d = h.manifest("a", fmt.Sprint("depth", depth), ocispec.MediaTypeImageIndex, index)
		_, err := s.Pull(t.Context(), imagestore.PullRequest{Ref: fmt.Sprintf("%s/a:depth%d", h.addr, depth)})
		if deep := depth > 2; deep != errors.Is(err, errdefs.ErrInvalid) || !deep && err != nil {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

func TestLayersStayWhileInUse(t *testing.T) {
	h := newHub(t)
	shared := tarOf(t, "x=1")
	h.push("a", "latest", image{layers: [][]byte{shared, tarOf(t, "y=1")}})
	h.push("b", "latest", image{layers: [][]byte{shared, tarOf(t, "z=1")}})
	root := t.TempDir()
	s, shut := open(t, root)
	a, b := pull(t, s, h.addr+"/a"), pull(t, s, h.addr+"/b")
	step := func(layers int, do ...error) {
		t.Helper()
		if err := errors.Join(do...); err != nil {
			t.Fatal(err)
		}
		if got := layersOnDisk(t, root); len(got) != layers {
			t.Fatalf("%d layers, want %d", len(got), layers)
		}
	}
	ctx := t.Context()
	step(3, s.Prepare(ctx, "w", a.ID), s.Prepare(ctx, "w", a.ID), s.Retain(ctx, "r", b.ID))
	if err := s.Prepare(ctx, "w", b.ID); !errors.Is(err, errdefs.ErrExists) {
		t.Error(err)
	}
	step(3, s.Remove(ctx, a.ID), s.Remove(ctx, b.ID))
	shut()
	s, _ = open(t, root) // uses outlive a restart
	if keys, err := s.Keys(ctx); err != nil || cmp.Diff([]string{"r", "w"}, keys) != "" {
		t.Error(keys, err)
	}
	f, err := s.Mount(ctx, "w", snapshot.As{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"x": "1", "y": "1"}, content(t, f)); diff != "" {
		t.Error(diff)
	}
	step(2, s.Discard(ctx, "w"), s.Discard(ctx, "w"))
	step(0, s.Discard(ctx, "r"), s.Discard(ctx, "never"))
	if err := s.Prepare(ctx, "n", a.ID); !errors.Is(err, errdefs.ErrNotFound) {
		t.Error(err)
	}
}

func TestView(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1")}})
	s, _ := open(t, t.TempDir())
	img := pull(t, s, h.addr+"/a")
	f, err := s.View(t.Context(), img.ID, snapshot.As{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/new", f.Fd()), nil, 0o600); err == nil {
		t.Error("a view can be written to")
	}
	if diff := cmp.Diff(map[string]string{"x": "1"}, content(t, f)); diff != "" {
		t.Error(diff)
	}
}

func TestConcurrentRemovals(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1")}})
	root := t.TempDir()
	s, _ := open(t, root)
	img := pull(t, s, h.addr+"/a")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.Remove(t.Context(), img.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	expectNothing(t, s, root)
}

func TestPullsAndRemovalsAtOnce(t *testing.T) {
	h := newHub(t)
	shared := tarOf(t, "x=1")
	for i := range 4 {
		h.push(fmt.Sprintf("a%d", i), "latest", image{env: fmt.Sprint(i), layers: [][]byte{shared, tarOf(t, fmt.Sprintf("y=%d", i%2))}})
	}
	root := t.TempDir()
	s, _ := open(t, root)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				img := pull(t, s, fmt.Sprintf("%s/a%d", h.addr, i))
				key := fmt.Sprintf("k%d", i)
				if err := s.Prepare(t.Context(), key, img.ID); err != nil {
					t.Error(err)
				}
				if err := errors.Join(s.Remove(t.Context(), img.ID), s.Discard(t.Context(), key)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	expectNothing(t, s, root)
	info, err := s.FsInfo(t.Context())
	if err != nil || info.Inodes != 1 {
		t.Errorf("counts drifted: %+v, %v", info, err)
	}
}

func TestFsInfoCounts(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{bigTar(t, 1, 1<<20)}})
	s, _ := open(t, t.TempDir())
	empty, err := s.FsInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	img := pull(t, s, h.addr+"/a")
	full, err := s.FsInfo(t.Context())
	if err != nil || full.Bytes < empty.Bytes+1<<20 || full.Inodes <= empty.Inodes || full.BytesCapacity == 0 {
		t.Errorf("%+v → %+v, %v", empty, full, err)
	}
	if err := s.Prepare(t.Context(), "k", img.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Usage(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if err := s.Discard(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

func TestPinned(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1")}})
	certs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(certs, "pinned.invalid"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, "pinned.invalid", "hosts.toml"), []byte(`server = "http://`+h.addr+`"`), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := imagestore.Open(t.Context(), imagestore.Config{Root: t.TempDir(), CertsDir: certs, Timing: quick(), Pinned: []string{"pinned.invalid/a"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if img := pull(t, s, "pinned.invalid/a"); !img.Pinned {
		t.Errorf("%+v", img)
	}
}

func TestUnknownNames(t *testing.T) {
	s, _ := open(t, t.TempDir())
	for name, want := range map[string]error{"busybox": errdefs.ErrNotFound, "beef": errdefs.ErrNotFound, "": errdefs.ErrInvalid, "A B": errdefs.ErrInvalid} {
		if _, err := s.Resolve(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := s.Remove(t.Context(), "busybox"); err != nil {
		t.Error(err)
	}
	if _, err := s.Mount(t.Context(), "no", snapshot.As{}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Error(err)
	}
	if err := s.Prepare(t.Context(), "../x", "busybox"); !errors.Is(err, errdefs.ErrInvalid) {
		t.Error(err)
	}
}

func TestClosedStore(t *testing.T) {
	s, shut := open(t, t.TempDir())
	shut()
	if _, err := s.List(t.Context()); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Error(err)
	}
}
