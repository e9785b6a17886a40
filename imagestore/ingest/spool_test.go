package ingest_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/ingest"
)

func TestSpoolKeepsBytes(t *testing.T) {
	d, err := ingest.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	blob, diffID := digest.FromString("blob"), digest.FromString("tar")
	want := ""
	for _, part := range []string{"one", "two"} {
		s, err := d.Open(blob, diffID, 100)
		if err != nil {
			t.Fatal(err)
		}
		held, err := io.ReadAll(s.Held())
		if err != nil || string(held) != want || s.Size() != int64(len(want)) {
			t.Errorf("holds %q, want %q, %v", held, want, err)
		}
		if _, err := io.WriteString(s, part); err != nil {
			t.Fatal(err)
		}
		want += part
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := d.Usage(); err != nil || n != 6 {
		t.Errorf("usage %d, %v", n, err)
	}
	s, err := d.Open(blob, diffID, 4) // the manifest says that the blob has 4 bytes only
	if err != nil || s.Size() != 4 {
		t.Fatal(s, err)
	}
	if err := errors.Join(d.Sweep(time.Now().Add(-time.Hour)), s.Remove()); err != nil {
		t.Error(err)
	}
	if n, err := d.Usage(); err != nil || n != 0 {
		t.Errorf("usage %d, %v", n, err)
	}
}

func TestSweepTakesEvenOpenOnes(t *testing.T) {
	d, err := ingest.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(digest.FromString("blob"), digest.FromString("tar"), 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s, "x"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Sweep(time.Now().Add(time.Hour)), s.Remove()); err != nil {
		t.Error(err)
	}
}

func TestNoneKeepsNothing(t *testing.T) {
	s := ingest.None()
	n, err := io.WriteString(s, "x")
	held, readErr := io.ReadAll(s.Held())
	if err := errors.Join(err, readErr, s.Remove(), s.Close()); err != nil || n != 1 || len(held) != 0 || s.Size() != 0 {
		t.Error(n, held, err)
	}
}
