package overlay

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	digest "github.com/opencontainers/go-digest"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestLayerLife(t *testing.T) {
	d, root := newDriver(t)
	ctx := t.Context()
	data := tarOf(t, dir("a/"), file("a/f", strings.Repeat("x", 5000)), hardlink("a/g", "a/f"), symlink("s", "a"))
	id := idOf(data)
	p, err := d.Apply(ctx, id, bytes.NewReader(data), layer.Limits{})
	must(t, err)
	if has, err := d.Has(id); has || err != nil {
		t.Errorf("Has before Commit = %v, %v", has, err)
	}
	must(t, p.Commit(ctx))
	must(t, p.Discard())
	if err := p.Commit(ctx); !errors.Is(err, errdefs.ErrBug) {
		t.Errorf("second Commit = %v", err)
	}
	if has, err := d.Has(id); !has || err != nil {
		t.Errorf("Has after Commit = %v, %v", has, err)
	}
	got, err := d.Layer(id)
	must(t, err)
	// Root, a, f, s; g is another name of f. Folders of a block each, f of two.
	if got.Inodes != 4 || got.Bytes != 4*4096 || got != p.Layer() {
		t.Errorf("Layer = %+v, pending %+v; want 4 inodes, 16384 bytes", got, p.Layer())
	}
	again, err := d.Apply(ctx, id, bytes.NewReader(data), layer.Limits{})
	must(t, err)
	must(t, again.Commit(ctx))
	layers, err := d.Layers()
	must(t, err)
	if !slices.Equal(layers, []digest.Digest{id}) {
		t.Errorf("Layers = %v", layers)
	}
	must(t, d.Prepare(ctx, "k", layers))
	if err := d.RemoveLayer(ctx, id); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("RemoveLayer under a snapshot = %v", err)
	}
	must(t, d.Discard(ctx, "k"))
	must(t, d.Discard(ctx, "k"))
	must(t, d.RemoveLayer(ctx, id))
	must(t, d.RemoveLayer(ctx, id))
	if _, err := d.Layer(id); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Layer after RemoveLayer = %v", err)
	}
	if left := list(t, filepath.Join(root, "layers")); left != "" {
		t.Errorf("left:\n%s", left)
	}
}

func TestBadNames(t *testing.T) {
	d, _ := newDriver(t)
	hex := strings.Repeat("a", 64)
	for _, id := range []digest.Digest{"", "sha256:", "sha256:../../x", "sha1:" + digest.Digest(hex), "sha256:" + digest.Digest(strings.ToUpper(hex)), digest.Digest("sha256:" + hex + "/"), digest.Digest("sha512:" + hex + hex)} {
		if _, err := d.Has(id); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("Has(%q) = %v", id, err)
		}
		if _, err := d.Apply(t.Context(), id, bytes.NewReader(nil), layer.Limits{}); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("Apply(%q) = %v", id, err)
		}
		if err := d.RemoveLayer(t.Context(), id); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("RemoveLayer(%q) = %v", id, err)
		}
		if err := d.Prepare(t.Context(), "k", []digest.Digest{id}); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("Prepare on %q = %v", id, err)
		}
	}
	for _, key := range []string{"", ".", "..", "a/b", "/", ".hidden", "a\x00", strings.Repeat("k", 201), "a b"} {
		if err := d.Prepare(t.Context(), key, nil); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("Prepare(%q) = %v", key, err)
		}
		if err := d.Discard(t.Context(), key); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("Discard(%q) = %v", key, err)
		}
	}
	if _, err := d.Mount(t.Context(), "none", snapshot.As{}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Mount of nothing = %v", err)
	}
	if _, err := d.Usage(t.Context(), "none"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Usage of nothing = %v", err)
	}
	missing := digest.Digest("sha256:" + hex)
	if err := d.Prepare(t.Context(), "k", []digest.Digest{missing}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Prepare on a missing layer = %v", err)
	}
	if _, err := d.View(t.Context(), []digest.Digest{missing}, snapshot.As{}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("View of a missing layer = %v", err)
	}
	must(t, d.Prepare(t.Context(), "k", nil))
	if err := d.Prepare(t.Context(), "k", nil); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("Prepare of a taken key = %v", err)
	}
}

// TestFailedApplyLeavesNothing: the source fails, is cancelled, or ends early at many places.
func TestFailedApplyLeavesNothing(t *testing.T) {
	d, root := newDriver(t)
	data := tarOf(t, dir("a/"), file("a/f", strings.Repeat("x", 3000)), file("a/g", strings.Repeat("y", 3<<20)))
	broken := errors.New("connection reset")
	for _, n := range []int{0, 600, 2000, 5000, 1 << 20, len(data) - 100} {
		_, err := d.Apply(t.Context(), idOf(data), io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)), layer.Limits{})
		if !errors.Is(err, broken) {
			t.Errorf("source failed after %d bytes: %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = d.Apply(ctx, idOf(data), io.MultiReader(bytes.NewReader(data[:n]), cancelReader(cancel), bytes.NewReader(data[n:])), layer.Limits{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d bytes: %v", n, err)
		}
	}
	if left := list(t, root); strings.Contains(left, "tmp/") || strings.Contains(left, "layers/") {
		t.Errorf("left:\n%s", left)
	}
}

type cancelReader context.CancelFunc

func (c cancelReader) Read([]byte) (int, error) { c(); return 0, io.EOF }

// TestApplyAtOnce unpacks one layer many times at once; all must succeed and one must stand.
func TestApplyAtOnce(t *testing.T) {
	d, root := newDriver(t)
	data := tarOf(t, dir("a/"), file("a/f", "content"))
	id := idOf(data)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			p, err := d.Apply(t.Context(), id, bytes.NewReader(data), layer.Limits{})
			if err == nil {
				err = p.Commit(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want := "a drwxr-xr-x\na/f -rw-r--r-- content\n"
	if got := list(t, filepath.Join(root, "layers", strings.Replace(string(id), ":", "-", 1), "fs")); got != want {
		t.Errorf("layer holds\n%s", got)
	}
}

// TestManyLayers mounts the most layers that are supported, in each way that this kernel offers.
func TestManyLayers(t *testing.T) {
	d, _ := newDriver(t)
	var layers []digest.Digest
	for i := range maxLayers {
		data := tarOf(t, file("f"+strconv.Itoa(i), "x"), file("same", strconv.Itoa(i)))
		layers = append(layers, apply(t, d, data))
	}
	layers = append(layers[:maxLayers-2], layers[3], layers[maxLayers-1]) // a repeated one
	must(t, d.Prepare(t.Context(), "k", layers))
	for _, how := range []mounter{byFile, byPath, byCall} {
		m, err := func() (*os.File, error) {
			d.how = how
			return d.Mount(t.Context(), "k", snapshot.As{})
		}()
		if err != nil && how != byCall {
			t.Logf("%s is not for this kernel: %v", how, err)
			continue
		}
		must(t, err)
		path := attach(t, m)
		names, err := os.ReadDir(path)
		must(t, err)
		if len(names) != maxLayers { // all but one file, and "same"
			t.Errorf("by %s: %d names", how, len(names))
		}
		data, err := os.ReadFile(filepath.Join(path, "same"))
		must(t, err)
		if string(data) != strconv.Itoa(maxLayers-1) {
			t.Errorf("by %s: the topmost layer is %s", how, data)
		}
	}
	if err := d.Prepare(t.Context(), "k2", append(layers, layers[0])); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("Prepare with %d layers = %v", maxLayers+1, err)
	}
}

// TestMountAgain: a snapshot keeps what was written to it, over mounts and over a restart of the driver.
func TestMountAgain(t *testing.T) {
	testutil.RequireRoot(t)
	root := filepath.Join(t.TempDir(), "store")
	for i := range 3 {
		d, err := Open(t.Context(), Config{Root: root})
		must(t, err)
		if i == 0 {
			must(t, d.Prepare(t.Context(), "k", []digest.Digest{apply(t, d, tarOf(t, with0700Root(), file("f", "low")))}))
		}
		m, err := d.Mount(t.Context(), "k", snapshot.As{})
		must(t, err)
		path := attach(t, m)
		if got := statOf(t, path); !strings.HasPrefix(got, "40700 12:34") {
			t.Errorf("the root folder is %s", got)
		}
		must(t, os.WriteFile(filepath.Join(path, strconv.Itoa(i)), nil, 0o644))
		names, err := os.ReadDir(path)
		must(t, err)
		if len(names) != i+2 {
			t.Errorf("mount %d shows %v", i, names)
		}
		keys, err := d.Keys(t.Context())
		must(t, err)
		if diff := cmp.Diff([]string{"k"}, keys); diff != "" {
			t.Error(diff)
		}
		must(t, d.Close())
	}
}

func with0700Root() *tar.Header {
	h := dir("./")
	h.Mode, h.Uid, h.Gid = 0o700, 12, 34
	return h
}

// TestDiscardStubborn: a container can set attributes that forbid deletion.
func TestDiscardStubborn(t *testing.T) {
	chattr := testutil.RequireTool(t, "chattr")
	d, root := newDriver(t)
	must(t, d.Prepare(t.Context(), "k", nil))
	upper := filepath.Join(root, "snapshots/k/upper")
	must(t, os.MkdirAll(filepath.Join(upper, "d/e"), 0o755))
	must(t, os.WriteFile(filepath.Join(upper, "d/e/f"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(upper, "d/g"), nil, 0o644))
	for _, f := range [][2]string{{"+i", "d/e/f"}, {"+a", "d/g"}, {"+i", "d/e"}, {"+i", "d"}} {
		if out, err := exec.Command(chattr, f[0], filepath.Join(upper, f[1])).CombinedOutput(); err != nil {
			testutil.Skip(t, "chattr does not work here: %s", out)
		}
	}
	must(t, d.Discard(t.Context(), "k"))
}

func TestOneProcess(t *testing.T) {
	_, root := newDriver(t)
	if _, err := Open(t.Context(), Config{Root: root}); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("a second Open = %v", err)
	}
}

// TestRootOnOverlay: the error must say what to do.
func TestRootOnOverlay(t *testing.T) {
	d, _ := newDriver(t)
	must(t, d.Prepare(t.Context(), "k", nil))
	m, err := d.Mount(t.Context(), "k", snapshot.As{})
	must(t, err)
	_, err = Open(t.Context(), Config{Root: filepath.Join(attach(t, m), "store")})
	if !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "must be on ext4") {
		t.Errorf("Open on an overlay = %v", err)
	}
}

// TestDamagedRecord: a snapshot whose record is cut can be listed and discarded, and takes nothing else with it.
func TestDamagedRecord(t *testing.T) {
	testutil.RequireRoot(t)
	root := filepath.Join(t.TempDir(), "store")
	d, err := Open(t.Context(), Config{Root: root})
	must(t, err)
	must(t, d.Prepare(t.Context(), "good", nil))
	must(t, d.Prepare(t.Context(), "bad", nil))
	must(t, d.Close())
	must(t, os.Truncate(filepath.Join(root, "snapshots/bad/snapshot.json"), 5))
	d, err = Open(t.Context(), Config{Root: root})
	must(t, err)
	defer d.Close()
	if _, err := d.Mount(t.Context(), "bad", snapshot.As{}); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("Mount = %v", err)
	}
	m, err := d.Mount(t.Context(), "good", snapshot.As{})
	must(t, err)
	must(t, m.Close())
	must(t, d.Discard(t.Context(), "bad"))
	keys, err := d.Keys(t.Context())
	must(t, err)
	if diff := cmp.Diff([]string{"good"}, keys); diff != "" {
		t.Error(diff)
	}
}

// TestReboot: a snapshot of an earlier boot is listed and discarded, but not mounted.
func TestReboot(t *testing.T) {
	d, _ := newDriver(t)
	must(t, d.Prepare(t.Context(), "k", nil))
	d.boot = "another"
	if _, err := d.Mount(t.Context(), "k", snapshot.As{}); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("Mount after a reboot = %v", err)
	}
	must(t, d.Discard(t.Context(), "k"))
}

// TestDiskFull unpacks onto a file system that is too small for it.
func TestDiskFull(t *testing.T) {
	testutil.RequireRoot(t)
	small := t.TempDir()
	must(t, syscall.Mount("tmpfs", small, "tmpfs", 0, "size=4m,nr_inodes=200"))
	defer func() { must(t, syscall.Unmount(small, 0)) }()
	d, err := Open(t.Context(), Config{Root: filepath.Join(small, "store")})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	var free syscall.Statfs_t
	must(t, syscall.Statfs(small, &free))
	var many []*tar.Header
	for i := range 300 {
		many = append(many, file(strconv.Itoa(i), "x"))
	}
	for name, data := range map[string][]byte{"bytes": tarOf(t, file("f", strings.Repeat("x", 8<<20))), "inodes": tarOf(t, many...)} {
		_, err = d.Apply(t.Context(), idOf(data), bytes.NewReader(data), layer.Limits{})
		if !errors.Is(err, errdefs.ErrExhausted) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var after syscall.Statfs_t
	must(t, syscall.Statfs(small, &after))
	if after.Bfree != free.Bfree || after.Ffree != free.Ffree {
		t.Errorf("free blocks %d, inodes %d before; %d, %d after", free.Bfree, free.Ffree, after.Bfree, after.Ffree)
	}
}
