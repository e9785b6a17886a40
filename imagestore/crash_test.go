package imagestore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/imagestore/snapshot/overlay"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// envCrash makes the test binary a process that pulls and kills itself: "step root image".
const envCrash = "BERTH_TEST_CRASH"

// The steps of a pull of two layers at which the process dies.
const (
	beforeFirst = "before the first layer's commit"
	afterFirst  = "after the first layer's commit"
	afterLast   = "after the last layer's commit"
	answered    = "after the answer"
	preparing   = "while a snapshot is prepared"
)

// deadly is a driver that kills its process.
type deadly struct {
	snapshot.Driver
	step           string
	begun, commits *atomic.Int32
}

type deadlyPending struct {
	snapshot.Pending
	d deadly
}

func die() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }

func (d deadly) Apply(ctx context.Context, id digest.Digest, tar io.Reader, l layer.Limits) (snapshot.Pending, error) {
	p, err := d.Driver.Apply(ctx, id, tar, l)
	if err != nil {
		return nil, err
	}
	return deadlyPending{p, d}, nil
}

func (p deadlyPending) Commit(ctx context.Context) error {
	switch n := p.d.begun.Add(1); {
	case p.d.step == beforeFirst:
		die()
	case p.d.step == afterFirst && n == 2:
		select {} // so that there is one
	}
	if err := p.Pending.Commit(ctx); err != nil {
		return err
	}
	if n := p.d.commits.Add(1); n == 1 && p.d.step == afterFirst || n == 2 && p.d.step == afterLast {
		die()
	}
	return nil
}

func (d deadly) Prepare(ctx context.Context, key string, layers []digest.Digest) error {
	if d.step == preparing {
		die()
	}
	return d.Driver.Prepare(ctx, key, layers)
}

// crashingChild only returns if it did not die.
func crashingChild() int {
	args := strings.Split(os.Getenv(envCrash), "|")
	step, root, name := args[0], args[1], args[2]
	err := func() error {
		ctx := context.Background()
		driver, err := overlay.Open(ctx, overlay.Config{Root: filepath.Join(root, "overlay")})
		if err != nil {
			return err
		}
		s, err := imagestore.Open(ctx, imagestore.Config{Root: root, Timing: quick(), Snapshots: deadly{driver, step, new(atomic.Int32), new(atomic.Int32)}})
		if err != nil {
			return err
		}
		img, err := s.Pull(ctx, imagestore.PullRequest{Ref: name})
		if err != nil {
			return err
		}
		if step == answered {
			die()
		}
		return s.Prepare(ctx, "key", img.ID)
	}()
	fmt.Fprintln(os.Stderr, "still alive:", err)
	return 1
}

func TestCrash(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1"), tarOf(t, "y=2")}})
	for step, want := range map[string]struct {
		layers  int // on disk after the restart
		visible bool
		refetch int64 // blobs that the next pull gets, the config included
	}{
		beforeFirst: {0, false, 3}, afterFirst: {1, false, 2}, afterLast: {2, false, 1}, answered: {2, true, 0}, preparing: {2, true, 0},
	} {
		t.Run(step, func(t *testing.T) {
			root := t.TempDir()
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), envCrash+"="+step+"|"+root+"|"+h.addr+"/a")
			out, err := c.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL { //nolint:forcetypeassert // Linux
				t.Fatalf("%v: %s", err, out)
			}
			s, _ := open(t, root)
			_, err = s.Resolve(t.Context(), h.addr+"/a")
			if visible := err == nil; visible != want.visible || !visible && !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("resolve: %v", err)
			}
			if got := layersOnDisk(t, root); len(got) != want.layers {
				t.Errorf("layers on disk: %v", got)
			}
			if left := names(t, filepath.Join(root, "overlay", "tmp")); len(left) != 0 {
				t.Errorf("temporary files: %v", left)
			}
			h.gets.Store(0)
			img := pull(t, s, h.addr+"/a")
			if n := h.gets.Load(); n > want.refetch {
				t.Errorf("%d blobs were fetched again, want %d", n, want.refetch)
			}
			checkUsable(t, s, img)
			if err := s.Prepare(t.Context(), "key", img.ID); err != nil { // also after it began before the crash
				t.Error(err)
			}
			if f, err := s.Mount(t.Context(), "key", snapshot.As{}); err != nil || f.Close() != nil {
				t.Error(err)
			}
			if err := errors.Join(s.Remove(t.Context(), img.ID), s.Discard(t.Context(), "key")); err != nil {
				t.Error(err)
			}
			expectNothing(t, s, root)
		})
	}
}

func checkUsable(t *testing.T, s *imagestore.Store, img imagestore.Image) {
	t.Helper()
	if err := s.Prepare(t.Context(), "check", img.ID); err != nil {
		t.Fatal(err)
	}
	f, err := s.Mount(t.Context(), "check", snapshot.As{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"x": "1", "y": "2"}, content(t, f)); diff != "" {
		t.Error(diff)
	}
	if err := s.Discard(t.Context(), "check"); err != nil {
		t.Error(err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	root := t.TempDir()
	open(t, root)
	_, err := imagestore.Open(t.Context(), imagestore.Config{Root: root})
	if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), root) {
		t.Error(err)
	}
}

func TestDamagedDatabase(t *testing.T) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1"), tarOf(t, "y=2")}})
	for name, damage := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 20_000) },
		"short":   func(path string) error { return os.Truncate(path, 100) },
		"garbage": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("garbage", 10_000)), 0o600) },
		"pages": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte(strings.Repeat("\xff", 12_000)), 2*4096)
			return errors.Join(err, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s, shut := open(t, root)
			pull(t, s, h.addr+"/a")
			shut()
			path := filepath.Join(root, "images.db")
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			_, err := imagestore.Open(t.Context(), imagestore.Config{Root: root})
			if !errors.Is(err, errdefs.ErrDataLoss) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move the file away") {
				t.Fatal(err)
			}
			if err := os.Rename(path, path+".bad"); err != nil { // the advice works
				t.Fatal(err)
			}
			s, _ = open(t, root)
			checkUsable(t, s, pull(t, s, h.addr+"/a"))
		})
	}
}

func TestLostLayerPutsOnlyItsImageAside(t *testing.T) {
	for name, damage := range map[string]func(folder string) error{
		"gone":           os.RemoveAll,
		"record cut":     func(folder string) error { return os.Truncate(filepath.Join(folder, "layer.json"), 3) },
		"record missing": func(folder string) error { return os.Remove(filepath.Join(folder, "layer.json")) },
	} {
		t.Run(name, func(t *testing.T) { testLostLayer(t, damage) })
	}
}

func testLostLayer(t *testing.T, damage func(string) error) {
	h := newHub(t)
	h.push("a", "latest", image{layers: [][]byte{tarOf(t, "x=1"), tarOf(t, "y=2")}})
	h.push("b", "latest", image{layers: [][]byte{tarOf(t, "z=1")}})
	root := t.TempDir()
	s, shut := open(t, root)
	img := pull(t, s, h.addr+"/a")
	pull(t, s, h.addr+"/b")
	shut()
	if err := damage(filepath.Join(root, "overlay", "layers", strings.ReplaceAll(img.Layers[0].String(), ":", "-"))); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, root)
	if _, err := s.Resolve(t.Context(), h.addr+"/a"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Resolve(t.Context(), h.addr+"/b"); err != nil {
		t.Error(err)
	}
	checkUsable(t, s, pull(t, s, h.addr+"/a")) // a new pull heals it
}
