package overlay

import (
	"archive/tar"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"

	"github.com/google/go-cmp/cmp"
)

// TestMarkers checks what a container sees for OCI's markers in every order, over one lower layer.
func TestMarkers(t *testing.T) {
	lower := []*tar.Header{dir("d/"), file("d/low", "l"), dir("d/sub/"), file("d/sub/low", "l"), file("f", "l"), symlink("link", "f")}
	const all = "d drwxr-xr-x\nd/low -rw-r--r-- l\nd/sub drwxr-xr-x\nd/sub/low -rw-r--r-- l\nf -rw-r--r-- l\nlink Lrwxrwxrwx -> f\n"
	const rest = "f -rw-r--r-- l\nlink Lrwxrwxrwx -> f\n"
	const folder = "d drwxr-xr-x\nd/low -rw-r--r-- l\nd/sub drwxr-xr-x\nd/sub/low -rw-r--r-- l\n"
	for _, c := range []struct {
		name  string
		upper []*tar.Header
		want  string
	}{
		{"nothing", nil, all},
		{"whiteout of a folder", []*tar.Header{file(".wh.d", "")}, rest},
		{"whiteout of a file", []*tar.Header{file(".wh.f", "")}, folder + "link Lrwxrwxrwx -> f\n"},
		{"whiteout of a link", []*tar.Header{file(".wh.link", "")}, folder + "f -rw-r--r-- l\n"},
		{"whiteout of nothing", []*tar.Header{file(".wh.none", ""), file("no/.wh.none", "")}, folder + "f -rw-r--r-- l\nlink Lrwxrwxrwx -> f\nno drwxr-xr-x\n"},
		{"whiteout twice", []*tar.Header{file(".wh.d", ""), file(".wh.d", "")}, rest},
		{"whiteout, then the file", []*tar.Header{file(".wh.f", ""), file("f", "u")}, folder + "f -rw-r--r-- u\nlink Lrwxrwxrwx -> f\n"},
		{"the file, then its whiteout", []*tar.Header{file("f", "u"), file(".wh.f", "")}, folder + "f -rw-r--r-- u\nlink Lrwxrwxrwx -> f\n"},
		{"whiteout, then the folder", []*tar.Header{file(".wh.d", ""), dir("d/"), file("d/up", "u")}, "d drwxr-xr-x\nd/up -rw-r--r-- u\n" + rest},
		{"whiteout, then a file in the folder", []*tar.Header{file(".wh.d", ""), file("d/up", "u")}, "d drwxr-xr-x\nd/up -rw-r--r-- u\n" + rest},
		{"the folder, then its whiteout", []*tar.Header{dir("d/"), file("d/up", "u"), file(".wh.d", "")}, "d drwxr-xr-x\nd/up -rw-r--r-- u\n" + rest},
		{"opaque first", []*tar.Header{file("d/.wh..wh..opq", ""), file("d/up", "u")}, "d drwxr-xr-x\nd/up -rw-r--r-- u\n" + rest},
		{"opaque after siblings", []*tar.Header{dir("d/"), file("d/up", "u"), dir("d/sub/"), file("d/sub/up", "u"), file("d/.wh..wh..opq", "")}, "d drwxr-xr-x\nd/sub drwxr-xr-x\nd/sub/up -rw-r--r-- u\nd/up -rw-r--r-- u\n" + rest},
		{"opaque below", []*tar.Header{file("d/sub/.wh..wh..opq", "")}, "d drwxr-xr-x\nd/low -rw-r--r-- l\nd/sub drwxr-xr-x\n" + rest},
		{"opaque through a link of this layer", []*tar.Header{dir("d/sub/"), symlink("via", "d/sub"), file("via/.wh..wh..opq", "")}, "d drwxr-xr-x\nd/low -rw-r--r-- l\nd/sub drwxr-xr-x\n" + rest + "via Lrwxrwxrwx -> d/sub\n"},
		{"opaque root", []*tar.Header{file(".wh..wh..opq", ""), file("only", "u")}, "only -rw-r--r-- u\n"},
		{"folder becomes a file", []*tar.Header{file("d", "u")}, "d -rw-r--r-- u\n" + rest},
		{"file becomes a folder", []*tar.Header{dir("f/"), file("f/x", "u")}, folder + "f drwxr-xr-x\nf/x -rw-r--r-- u\nlink Lrwxrwxrwx -> f\n"},
		{"link becomes a folder", []*tar.Header{file("link/x", "u")}, folder + "f -rw-r--r-- l\nlink drwxr-xr-x\nlink/x -rw-r--r-- u\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := newDriver(t)
			layers := []digest.Digest{apply(t, d, tarOf(t, lower...)), apply(t, d, tarOf(t, c.upper...))}
			m, err := d.View(t.Context(), layers, snapshot.As{})
			must(t, err)
			if diff := cmp.Diff(c.want, list(t, attach(t, m))); diff != "" {
				t.Errorf("view: %s", diff)
			}
			must(t, d.Prepare(t.Context(), "k", layers))
			m, err = d.Mount(t.Context(), "k", snapshot.As{})
			must(t, err)
			if diff := cmp.Diff(c.want, list(t, attach(t, m))); diff != "" {
				t.Errorf("mount: %s", diff)
			}
		})
	}
}
