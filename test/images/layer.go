package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dir marks a file's mode as that of a folder.
const dir = 1 << 20

// file is one entry of a layer: a folder (mode has dir), a regular file (content, or the bytes of from), a hard link (with its
// target's mode, which unpackers apply to the shared inode) or a
// symbolic link.
type file struct {
	path, link, symlink string
	mode                int64
	uid                 int
	content, from       string
}

// newLayer packs files into a gzip layer; folders above a file need not be listed.
func newLayer(files []file) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := map[string]bool{".": true}
	for _, f := range files {
		if err := addParents(w, f.path, made); err != nil {
			return nil, err
		}
		if err := f.write(w); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.path, err)
		}
		made[f.path] = made[f.path] || f.mode&dir != 0
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(1))
}

func addParents(w *tar.Writer, name string, made map[string]bool) error {
	var missing []string
	for d := path.Dir(name); !made[d]; d = path.Dir(d) {
		made[d] = true
		missing = append(missing, d)
	}
	for _, d := range slices.Backward(missing) {
		if err := (file{path: d, mode: dir | 0o755}).write(w); err != nil {
			return err
		}
	}
	return nil
}

func (f file) write(w *tar.Writer) error {
	h := &tar.Header{Name: f.path, Mode: f.mode &^ dir, Uid: f.uid, Gid: f.uid, Format: tar.FormatUSTAR, Typeflag: tar.TypeReg}
	content := []byte(f.content)
	switch {
	case f.link != "":
		h.Typeflag, h.Linkname = tar.TypeLink, f.link
	case f.symlink != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.symlink, 0o777
	case f.mode&dir != 0:
		h.Typeflag, h.Name = tar.TypeDir, f.path+"/"
	case f.from != "":
		var err error
		if content, err = os.ReadFile(f.from); err != nil {
			return err
		}
	}
	h.Size = int64(len(content))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// sanitize makes a file name of a reference.
func sanitize(ref string) string {
	return strings.NewReplacer("/", "-", ":", "-", "@", "-").Replace(ref)
}
