package images

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// RefName is the annotation that carries an entry's repository and tag in the layout's index.json.
const RefName = "org.opencontainers.image.ref.name"

// Options says where Build works.
type Options struct {
	Source string // folder of this package's source, for the guest program
	Out    string // the layout; replaced when complete
	Cache  string // compiled busybox, kept between runs
	Only   string // build the one image of this reference; "" builds all
}

// Build makes every image of the catalog into an OCI layout at o.Out.
func Build(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return err
	}
	cache, err := filepath.Abs(o.Cache)
	if err != nil {
		return err
	}
	g, err := buildGuest(ctx, o.Source, cache)
	if err != nil {
		return err
	}
	entries := catalog(g)
	if o.Only != "" {
		entries = slices.DeleteFunc(entries, func(e entry) bool { return !slices.Contains(e.refs, o.Only) })
	}
	base, err := baseLayer(ctx, entries, cache)
	if err != nil {
		return err
	}
	tmp := o.Out + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	dst, err := layout.Write(tmp, empty.Index)
	if err != nil {
		return fmt.Errorf("create layout %s: %w", tmp, err)
	}
	for _, e := range entries {
		if err := e.append(dst, base); err != nil {
			return fmt.Errorf("build image %s: %w", e.refs[0], err)
		}
	}
	if err := os.RemoveAll(o.Out); err != nil {
		return err
	}
	return os.Rename(tmp, o.Out)
}

// baseLayer makes the layer of busybox, if an image wants it: compiling it takes a while.
func baseLayer(ctx context.Context, entries []entry, cache string) (v1.Layer, error) {
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.base == "busybox" }) {
		return nil, nil
	}
	box, err := buildBusybox(ctx, cache)
	if err != nil {
		return nil, err
	}
	return newLayer(busyboxFiles(box))
}

// append builds one image and adds it to the layout under each of its references.
func (e entry) append(dst layout.Path, base v1.Layer) error {
	img, err := e.image(base)
	if err != nil {
		return err
	}
	// Most registries serve an index, so does this one. The other platform comes first: a client that takes the first entry
	// without looking gets an image that can't run here.
	other, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "s390x"})
	if err != nil {
		return err
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: mutate.MediaType(other, types.OCIManifestSchema1), Descriptor: platform("s390x")},
		mutate.IndexAddendum{Add: img, Descriptor: platform(runtime.GOARCH)})
	for _, ref := range e.refs {
		if err := dst.AppendIndex(index, layout.WithAnnotations(map[string]string{RefName: ref})); err != nil {
			return err
		}
	}
	return nil
}

func platform(arch string) v1.Descriptor {
	return v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}
}

func (e entry) image(base v1.Layer) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	var layers []v1.Layer
	if e.base == "busybox" {
		layers = append(layers, base)
	}
	for _, files := range e.layers {
		l, err := newLayer(files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Config = "linux", runtime.GOARCH, e.config
	if !slices.ContainsFunc(cf.Config.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		cf.Config.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, cf.Config.Env...)
	}
	// The references tell images apart that are otherwise the same, as their authors' build dates would.
	cf.Author = strings.Join(e.refs, " ")
	return mutate.ConfigFile(img, cf)
}

// guest is the compiled guest program.
type guest struct{ path string }

func buildGuest(ctx context.Context, source, cache string) (guest, error) {
	g := guest{path: filepath.Join(cache, "guest")}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", g.path, "./guest")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		return guest{}, fmt.Errorf("build the guest program: %w\n%s", err, out)
	}
	return g, nil
}
