package overlay

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/testutil"
)

// Every snapshot shows the places, none of which is made in its upper folder. What an image has or has deleted there counts more.
func TestPlaces(t *testing.T) {
	testutil.RequireRoot(t)
	root := filepath.Join(t.TempDir(), "store")
	cfg := Config{Root: root, Places: []string{"/etc/hosts", "/etc/deep/er/file", "/top"}}
	d, err := Open(t.Context(), cfg)
	must(t, err)
	must(t, d.Close())
	d, err = Open(t.Context(), cfg) // they are there already
	must(t, err)
	defer func() { must(t, d.Close()) }()
	image := apply(t, d, tarOf(t, dir("etc/"), file("etc/hosts", "mine"), file("etc/.wh.deep", "")))
	for key, c := range map[string]struct {
		layers []digest.Digest
		want   map[string]string // content by path; "-": there is none
	}{
		"scratch": {nil, map[string]string{"etc/hosts": "", "etc/deep/er/file": "", "top": ""}},
		"image":   {[]digest.Digest{image}, map[string]string{"etc/hosts": "mine", "etc/deep/er/file": "-", "top": ""}},
	} {
		must(t, d.Prepare(t.Context(), key, c.layers))
		m, err := d.Mount(t.Context(), key, snapshot.As{})
		must(t, err)
		at := attach(t, m)
		for path, want := range c.want {
			data, err := os.ReadFile(filepath.Join(at, path))
			if got := string(data); want == "-" != os.IsNotExist(err) || want != "-" && got != want {
				t.Errorf("%s: %s is %q, %v; want %q", key, path, got, err, want)
			}
		}
		upper, err := os.ReadDir(filepath.Join(root, "snapshots", key, "upper"))
		if err != nil || len(upper) > 0 {
			t.Errorf("%s: upper has %v, %v", key, upper, err)
		}
	}
	view, err := d.View(t.Context(), nil, snapshot.As{})
	must(t, err)
	if list, err := os.ReadDir(attach(t, view)); err != nil || len(list) > 0 {
		t.Errorf("a view shows %v, %v", list, err)
	}
}
