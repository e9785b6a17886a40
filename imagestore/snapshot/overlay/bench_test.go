package overlay

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

// benchTar is like a layer of a distribution: 10,000 files in 1,000 folders, most of them small, about 300 MB.
func benchTar(b *testing.B) []byte {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 8<<20)
	for i := range content {
		content[i] = byte(rnd.Uint32())
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	put := func(h tar.Header, data []byte) {
		h.Size, h.ModTime = int64(len(data)), time.Unix(1700000000, 0)
		testutil.Must(b, w.WriteHeader(&h))
		_, err := w.Write(data)
		testutil.Must(b, err)
	}
	for i := range 1000 {
		at := fmt.Sprintf("usr/share/%02d/%d/", i%40, i)
		put(tar.Header{Name: at, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
		for j := range 10 {
			size := int(rnd.ExpFloat64() * 30 * 1024)
			put(tar.Header{Name: at + strconv.Itoa(j), Typeflag: tar.TypeReg, Mode: 0o644}, content[:min(size, len(content))])
		}
	}
	testutil.Must(b, w.Close())
	return buf.Bytes()
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	testutil.Must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLayer reports the parts of a layer's life in milliseconds, of wall clock and of CPU.
func BenchmarkLayer(b *testing.B) {
	d, _ := newDriver(b)
	data := benchTar(b)
	parts := map[string]time.Duration{}
	part := func(name string, f func()) {
		wall, used := time.Now(), cpu(b)
		f()
		parts[name+"-ms"] += time.Since(wall)
		parts[name+"-cpu-ms"] += cpu(b) - used
	}
	// Layers go only at the end: ext4 does not reuse an inode for a minute, and finding others then costs more than
	// unpacking does.
	var made []digest.Digest
	for b.Loop() {
		id := idOf([]byte(strconv.Itoa(len(made))))
		made = append(made, id)
		var p snapshot.Pending
		part("apply", func() {
			var err error
			p, err = d.Apply(b.Context(), id, bytes.NewReader(data), layer.Limits{})
			testutil.Must(b, err)
		})
		part("commit", func() { testutil.Must(b, p.Commit(b.Context())) })
	}
	for _, id := range made {
		part("remove", func() { testutil.Must(b, d.RemoveLayer(b.Context(), id)) })
	}
	for name, t := range parts {
		b.ReportMetric(float64(t.Milliseconds())/float64(b.N), name)
	}
	b.SetBytes(int64(len(data)))
}

// BenchmarkSnapshot reports the parts of a container's root in microseconds, on four layers.
func BenchmarkSnapshot(b *testing.B) {
	d, _ := newDriver(b)
	var layers []digest.Digest
	for i := range 4 {
		data := tarOf(b, dir("./"), dir("etc/"), file("etc/"+strconv.Itoa(i), "x"))
		id := idOf(data)
		p, err := d.Apply(b.Context(), id, bytes.NewReader(data), layer.Limits{})
		testutil.Must(b, err)
		testutil.Must(b, p.Commit(b.Context()))
		layers = append(layers, id)
	}
	parts := map[string]time.Duration{}
	part := func(name string, f func()) {
		start := time.Now()
		f()
		parts[name+"-µs"] += time.Since(start)
	}
	var m *os.File
	var err error
	for b.Loop() {
		part("prepare", func() { testutil.Must(b, d.Prepare(b.Context(), "k", layers)) })
		part("mount", func() { m, err = d.Mount(b.Context(), "k", snapshot.As{}); testutil.Must(b, err) })
		root, err := sys.DirOf(m)
		testutil.Must(b, err)
		testutil.Must(b, touch(root, "file"))
		testutil.Must(b, root.Close())
		part("umount", func() { testutil.Must(b, m.Close()) })
		part("usage", func() { _, err := d.Usage(b.Context(), "k"); testutil.Must(b, err) })
		part("discard", func() { testutil.Must(b, d.Discard(b.Context(), "k")) })
		part("view", func() { m, err = d.View(b.Context(), layers, snapshot.As{}); testutil.Must(b, err) })
		part("unview", func() { testutil.Must(b, m.Close()) })
	}
	for name, t := range parts {
		b.ReportMetric(float64(t.Microseconds())/float64(b.N), name)
	}
}
