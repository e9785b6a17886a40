package overlay

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDriver opens a store in a folder of the test, and fails the test if anything unfinished is left in it at the end.
func newDriver(t testing.TB) (*Driver, string) {
	t.Helper()
	testutil.RequireRoot(t)
	root := filepath.Join(t.TempDir(), "store")
	d, err := Open(t.Context(), Config{Root: root})
	must(t, err)
	t.Cleanup(func() {
		d.deleter.done.Wait()
		must(t, d.Close())
		left, err := os.ReadDir(filepath.Join(root, "tmp"))
		must(t, err)
		for _, e := range left {
			t.Errorf("left in tmp: %s", e.Name())
		}
	})
	return d, root
}

// tarOf builds a tar from headers; a header's content is its PAX record "test.content". Times default to a fixed one.
func tarOf(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		h := *h
		content := h.PAXRecords[contentKey]
		if content != "" {
			h.PAXRecords = maps.Clone(h.PAXRecords) // headers are used again
			delete(h.PAXRecords, contentKey)
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1700000000, 0)
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		must(t, err)
	}
	must(t, w.Close())
	return buf.Bytes()
}

const contentKey = "test.content"

func file(name, content string) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o644, PAXRecords: map[string]string{contentKey: content}}
}

func dir(name string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeDir}
}

func symlink(name, target string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

func hardlink(name, target string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
}

func idOf(data []byte) digest.Digest {
	sum := sha256.Sum256(data)
	return digest.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// apply unpacks and commits a layer.
func apply(t testing.TB, d *Driver, data []byte) digest.Digest {
	t.Helper()
	id := idOf(data)
	p, err := d.Apply(t.Context(), id, bytes.NewReader(data), layer.Limits{})
	must(t, err)
	must(t, p.Commit(t.Context()))
	return id
}

// attach puts a detached mount on a folder of the test and returns its path.
func attach(t testing.TB, m *os.File) string {
	t.Helper()
	path := t.TempDir()
	at, err := os.Open(path)
	must(t, err)
	must(t, sys.MoveMount(m, at))
	must(t, at.Close())
	must(t, m.Close())
	t.Cleanup(func() {
		d, err := sys.OpenDir(filepath.Dir(path))
		must(t, err)
		must(t, d.UnmountAt(filepath.Base(path)))
		must(t, d.Close())
	})
	return path
}

// list spells everything below path: "name type mode uid:gid content", sorted.
func list(t testing.TB, path string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == path {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		b.WriteString(strings.TrimPrefix(p, path+"/") + " " + info.Mode().String())
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b.WriteString(" " + string(data))
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			b.WriteString(" -> " + target)
		}
		b.WriteString("\n")
		return nil
	}))
	return b.String()
}

var _ snapshot.Driver = (*Driver)(nil)

// statOf spells "mode uid:gid major:minor mtime".
func statOf(t testing.TB, path string) string {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Lstat(path, &st))
	major, minor := st.Rdev>>8&0xfff, st.Rdev&0xff
	return fmt.Sprintf("%o %d:%d %d:%d %d", st.Mode, st.Uid, st.Gid, major, minor, st.Mtim.Sec)
}

func xattrsOf(t testing.TB, path string) map[string]string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := syscall.Listxattr(path, buf)
	must(t, err)
	attrs := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := syscall.Getxattr(path, name, value)
		must(t, err)
		attrs[name] = string(value[:n])
	}
	return attrs
}
