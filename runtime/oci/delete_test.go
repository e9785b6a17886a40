package oci

import (
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
)

// What has no record is removed, but not what has got one since it was looked for.
func TestHalfMadeContainersAreRemoved(t *testing.T) {
	r := New(Config{Root: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	c, err := r.reserve(goodRecord(), []byte("{}"))
	testutil.Must(t, err)
	testutil.Must(t, c.release())
	if gone, err := r.removeHalfMade("a"); gone || err != nil {
		t.Errorf("with a record: gone %v, %v", gone, err)
	}
	if _, err := r.load("a"); err != nil {
		t.Error(err)
	}
	testutil.Must(t, os.Remove(c.file(recordFile)))
	testutil.Must(t, r.Delete(t.Context(), "a", true))
	if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without one: %v", err)
	}
	testutil.Must(t, r.Delete(t.Context(), "a", true))
}
