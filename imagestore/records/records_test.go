package records

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func openDB(t *testing.T) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "images.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func config(name string) (digest.Digest, map[digest.Digest][]byte) {
	d := digest.FromString(name)
	return d, map[digest.Digest][]byte{d: []byte(name)}
}

func commit(t *testing.T, db *DB, name string, tags ...string) Image {
	t.Helper()
	id, blobs := config(name)
	m := Image{ID: id, Tags: tags, Digests: []string{"r/" + name + "@" + id.String()}, Layers: []digest.Digest{digest.FromString("layer")}}
	if _, err := db.Commit(m, blobs, ""); err != nil {
		t.Fatal(err)
	}
	got, err := db.Image(id)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCommitMergesAndMovesTags(t *testing.T) {
	db := openDB(t)
	a := commit(t, db, "a", "r/x:1", "r/x:2")
	b := commit(t, db, "b", "r/x:2")
	if a, _ = db.Image(a.ID); cmp.Diff([]string{"r/x:1"}, a.Tags) != "" || len(a.Digests) != 1 {
		t.Errorf("%+v", a)
	}
	if got, err := db.ByName("r/x:2"); err != nil || got.ID != b.ID {
		t.Errorf("%+v, %v", got, err)
	}
	a = commit(t, db, "a", "r/x:3")
	if diff := cmp.Diff([]string{"r/x:1", "r/x:3"}, a.Tags); diff != "" {
		t.Error(diff)
	}
	if _, err := db.ByPrefix(a.ID.Encoded()[:8]); err != nil {
		t.Error(err)
	}
	if _, err := db.ByPrefix(""); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("ambiguous: %v", err)
	}
	if _, err := db.Remove(a.ID); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(a.Tags, a.Digests...) {
		if _, err := db.ByName(name); !errors.Is(err, errdefs.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if db.Has(a.ID) || !db.Has(b.ID) {
		t.Error("blobs: wrong ones left")
	}
	if _, err := db.Remove(a.ID); !errors.Is(err, errdefs.ErrNotFound) {
		t.Error(err)
	}
}

func TestQuarantine(t *testing.T) {
	db := openDB(t)
	good, bad, cut := commit(t, db, "good", "r/g:1"), commit(t, db, "bad", "r/b:1"), commit(t, db, "cut", "r/c:1")
	err := db.update(func(tx *bbolt.Tx) error { return tx.Bucket(imagesBucket()).Put([]byte(cut.ID), []byte(`{"id":"sha`)) })
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		why, err := db.Quarantine(func(m Image) error {
			if m.ID == bad.ID {
				return errors.New("unusable")
			}
			return nil
		})
		if err != nil || round == 0 && len(why) != 2 || round == 1 && len(why) != 0 {
			t.Fatalf("round %d: %v, %v", round, why, err)
		}
	}
	list, err := db.Images()
	if err != nil || len(list) != 1 || list[0].ID != good.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := db.ByName("r/b:1"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Error(err)
	}
	if again := commit(t, db, "cut", "r/c:1"); again.ID != cut.ID {
		t.Error("can't be pulled again")
	}
}

func TestPulls(t *testing.T) {
	db := openDB(t)
	m := digest.FromString("m")
	want := Pull{Layers: []digest.Digest{digest.FromString("l")}, Started: time.Now().UTC()}
	if err := errors.Join(db.Begin(m, want), db.Begin("other", want), db.Forget("other"), db.Forget()); err != nil {
		t.Fatal(err)
	}
	got, err := db.Pulls()
	if diff := cmp.Diff(map[digest.Digest]Pull{m: want}, got); err != nil || diff != "" {
		t.Error(diff, err)
	}
	id, blobs := config("x")
	if created, err := db.Commit(Image{ID: id}, blobs, m); err != nil || !created {
		t.Error(created, err)
	}
	if got, err := db.Pulls(); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

func TestDamagedBlobIsNotReturned(t *testing.T) {
	db := openDB(t)
	a := commit(t, db, "a")
	err := db.update(func(tx *bbolt.Tx) error { return tx.Bucket(blobsBucket()).Put([]byte(a.ID), []byte("b")) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Blob(a.ID); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	id := digest.FromString("x")
	good, err := json.Marshal(Image{ID: id, Tags: []string{"a:b"}, Layers: []digest.Digest{id}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"id":"` + id + `","layers":["sha256:../../x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range decodePull(data).Layers {
			if d.Validate() != nil {
				t.Fatalf("unchecked digest %q", d)
			}
		}
		m, err := decode(string(id), data)
		if err != nil {
			if !errors.Is(err, errdefs.ErrDataLoss) {
				t.Fatalf("no kind: %v", err)
			}
			return
		}
		for _, d := range m.Layers {
			if strings.ContainsAny(string(d), "/.") {
				t.Fatalf("unchecked digest %q", d)
			}
		}
	})
}
