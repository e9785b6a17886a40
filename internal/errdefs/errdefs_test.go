package errdefs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestKindAndCauseAreBothFound(t *testing.T) {
	err := fmt.Errorf("start pod: %w", errdefs.NotFound("open %s: %w", "x", fs.ErrNotExist))
	if !errors.Is(err, errdefs.ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("kind or cause lost: %v", err)
	}
	if errors.Is(err, errdefs.ErrInvalid) {
		t.Fatal("matches a kind that it is not")
	}
	if got, want := err.Error(), "start pod: open x: file does not exist"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
