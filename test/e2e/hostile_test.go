package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/images"
	"github.com/berth-runtime/berth/test/node"
)

// hostile is a layout of images that an attacker would make: busybox with a layer and a config on top.
type hostile struct {
	t    *testing.T
	dir  string
	to   layout.Path
	base v1.Image
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	from, err := node.ImageLayout()
	testutil.Must(t, err)
	h := &hostile{t: t, dir: t.TempDir()}
	h.to, err = layout.Write(h.dir, empty.Index)
	testutil.Must(t, err)
	index, err := layout.ImageIndexFromPath(from)
	testutil.Must(t, err)
	list, err := index.IndexManifest()
	testutil.Must(t, err)
	for _, d := range list.Manifests {
		if d.Annotations[images.RefName] == images.Busybox {
			of, err := index.ImageIndex(d.Digest)
			testutil.Must(t, err)
			h.base = imageOf(t, of)
		}
	}
	if h.base == nil {
		t.Fatalf("no %s in %s", images.Busybox, from)
	}
	return h
}

// imageOf returns an index's image for this machine.
func imageOf(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	list, err := index.IndexManifest()
	testutil.Must(t, err)
	for _, d := range list.Manifests {
		if d.Platform != nil && d.Platform.Architecture == runtime.GOARCH {
			img, err := index.Image(d.Digest)
			testutil.Must(t, err)
			return img
		}
	}
	t.Fatal("no image for this machine")
	return nil
}

// add makes an image docker.io/hostile/NAME:1 and returns its reference.
func (h *hostile) add(name string, change func(*v1.Config), files ...tar.Header) string {
	h.t.Helper()
	config, err := h.base.ConfigFile()
	testutil.Must(h.t, err)
	c := config.DeepCopy().Config
	if change != nil {
		change(&c)
	}
	img, err := mutate.Config(h.base, c)
	testutil.Must(h.t, err)
	img, err = mutate.AppendLayers(img, h.layer(files))
	testutil.Must(h.t, err)
	testutil.Must(h.t, h.to.AppendImage(img, layout.WithAnnotations(map[string]string{images.RefName: "hostile/" + name + ":1"})))
	return "docker.io/hostile/" + name + ":1"
}

func (h *hostile) layer(files []tar.Header) v1.Layer {
	h.t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		content := f.Uname
		f.Uname = ""
		f.Size = int64(len(content))
		testutil.Must(h.t, w.WriteHeader(&f))
		_, err := io.WriteString(w, content)
		testutil.Must(h.t, err)
	}
	testutil.Must(h.t, w.Close())
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	l, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	testutil.Must(h.t, err)
	return l
}

// fileOf is a regular file; its content travels in Uname until it is written.
func fileOf(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Uname: content}
}

func linkOf(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
}
