package cleanup_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/berth-runtime/berth/internal/cleanup"
)

func TestCleanRunsAllNewestFirstAndJoinsErrors(t *testing.T) {
	var ran []int
	cause, undoErr := errors.New("cause"), errors.New("undo")
	err := func() (err error) {
		cu := cleanup.Make(&err)
		defer cu.Clean()
		cu.Add(func() error { ran = append(ran, 1); return nil })
		cu.Add(func() error { ran = append(ran, 2); return undoErr })
		return cause
	}()
	if !slices.Equal(ran, []int{2, 1}) {
		t.Fatalf("order %v", ran)
	}
	if !errors.Is(err, cause) || !errors.Is(err, undoErr) {
		t.Fatalf("lost an error: %v", err)
	}
}

func TestReleaseKeepsTheEffects(t *testing.T) {
	err := func() (err error) {
		cu := cleanup.Make(&err)
		defer cu.Clean()
		cu.Add(func() error { t.Error("ran"); return nil })
		cu.Release()
		return nil
	}()
	if err != nil {
		t.Fatal(err)
	}
}
