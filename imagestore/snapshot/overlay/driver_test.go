package overlay

import (
	"os"
	"path/filepath"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
)

// TestLayersStack checks OCI's markers through real mounts: what a container sees of three layers.
func TestLayersStack(t *testing.T) {
	d, _ := newDriver(t)
	layers := []digest.Digest{
		apply(t, d, tarOf(t, dir("./"), dir("etc/"), file("etc/a", "a1"), file("etc/b", "b1"), dir("var/"), file("var/x", "x1"), dir("gone/"), file("gone/y", "y1"), dir("full/"), file("full/old", "o"))),
		apply(t, d, tarOf(t, dir("etc/"), file("etc/.wh.a", ""), file("etc/c", "c2"), dir("full/"), file("full/new", "n"), file("full/.wh..wh..opq", ""))),
		apply(t, d, tarOf(t, file(".wh.gone", ""), file("etc/b", "b3"), hardlink("etc/b2", "etc/b"), symlink("lnk", "etc/b"))),
	}
	must(t, d.Prepare(t.Context(), "k1", layers))
	m, err := d.Mount(t.Context(), "k1", snapshot.As{})
	must(t, err)
	path := attach(t, m)
	want := `etc drwxr-xr-x
etc/b -rw-r--r-- b3
etc/b2 -rw-r--r-- b3
etc/c -rw-r--r-- c2
full drwxr-xr-x
full/new -rw-r--r-- n
lnk Lrwxrwxrwx -> etc/b
var drwxr-xr-x
var/x -rw-r--r-- x1
`
	if got := list(t, path); got != want {
		t.Errorf("mount shows\n%swant\n%s", got, want)
	}
	must(t, os.WriteFile(filepath.Join(path, "var/x"), []byte("mine"), 0o644))
	v, err := d.View(t.Context(), layers, snapshot.As{})
	must(t, err)
	if got := list(t, attach(t, v)); got != want {
		t.Errorf("view shows\n%swant\n%s", got, want)
	}
	u, err := d.Usage(t.Context(), "k1")
	must(t, err)
	if u.Inodes != 3 || u.Bytes == 0 { // upper, var, x
		t.Errorf("Usage = %+v, want 3 inodes", u)
	}
}
