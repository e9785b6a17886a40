package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/berth-runtime/berth/test/images"
	"github.com/berth-runtime/berth/test/node"
)

// The large image: about 600 MB of gzip and 1.5 GB of files in layers of the usual unequal sizes.
const (
	largeName = "bench/large:1"
	largeRef  = "docker.io/" + largeName
)

var layerMegabytes = [...]int{700, 400, 200, 120, 60, 20}

// largeImage makes the image once and returns its layout.
func largeImage(ctx context.Context) (string, error) {
	repo, err := node.Repo()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(repo, "build", "large")
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil {
		return dir, nil
	}
	fmt.Fprintln(os.Stderr, "making the large image, once")
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for i, megabytes := range layerMegabytes {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		file := filepath.Join(repo, "build", fmt.Sprintf("large-%d.tar.gz", i))
		defer os.Remove(file) // the layout holds a copy
		if err := writeLayer(file, uint64(i), megabytes); err != nil {
			return "", err
		}
		l, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return "", err
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return "", err
		}
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", runtime.GOARCH
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return "", err
	}
	if err := store(tmp, img); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

func store(dir string, img v1.Image) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendImage(img, layout.WithAnnotations(map[string]string{images.RefName: largeName}))
}

// writeLayer writes a layer of files of many sizes, of which gzip leaves about two fifths, as it does of programs.
func writeLayer(path string, seed uint64, megabytes int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	r := rand.New(rand.NewPCG(seed, 7))
	left := int64(megabytes) << 20
	for n := 0; left > 0; n++ {
		size := min(left, int64(1)<<(9+r.IntN(15))) // 512 B to 8 MiB
		name := fmt.Sprintf("data/%d/%03d/file-%d", seed, n%97, n)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if err := fill(w, r, size); err != nil {
			return err
		}
		left -= size
	}
	return errors.Join(w.Close(), z.Close())
}

// fill writes random bytes and repetitions of them, two to three.
func fill(w io.Writer, r *rand.Rand, size int64) error {
	var random, block [4096]byte
	for size > 0 {
		for i := range random {
			random[i] = byte(r.Uint32())
		}
		copy(block[:], random[:4096*2/5])
		for i := 4096 * 2 / 5; i < len(block); i++ {
			block[i] = block[i%64]
		}
		n := min(size, int64(len(block)))
		if _, err := w.Write(block[:n]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}
