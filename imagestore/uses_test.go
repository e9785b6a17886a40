package imagestore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestDamagedUsesAreDropped(t *testing.T) {
	dir := t.TempDir()
	u := &uses{dir: dir}
	if _, err := u.load(); err != nil {
		t.Fatal(err)
	}
	want := use{Image: "sha256:x", Layers: []digest.Digest{digest.FromString("l")}, Writable: true}
	if err := u.put("good", want); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cut": `{"image":"sha2`, "path": `{"layers":["sha256:../../x"]}`, ".left.tmp-1": "x", "long": strings.Repeat(" ", maxUse+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	why, err := u.load()
	if err != nil || len(why) != 3 {
		t.Errorf("%v, %v", why, err)
	}
	got, _ := u.get("good")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(use{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"good"}, u.keys()); diff != "" {
		t.Error(diff)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func FuzzDecodeUse(f *testing.F) {
	f.Add([]byte(`{"image":"sha256:x","layers":["` + digest.FromString("l") + `"],"writable":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeUse(data)
		if err != nil && !errors.Is(err, errdefs.ErrDataLoss) {
			t.Fatal(err)
		}
		for _, d := range v.Layers {
			if err == nil && d.Validate() != nil {
				t.Fatalf("unchecked %q", d)
			}
		}
	})
}
