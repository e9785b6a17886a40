package crilog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cri-server/cmd/berth/internal/crilog"
)

const stamp = "2026-01-02T03:04:05.123456789Z"

func TestParse(t *testing.T) {
	for in, want := range map[string]struct {
		text               string
		stderr, full, isOK bool
	}{
		stamp + " stdout F hello  world":       {"hello  world", false, true, true},
		stamp + " stderr P half":               {"half", true, false, true},
		stamp + " stdout F:x y":                {"y", false, true, true},
		stamp + " stdout F ":                   {"", false, true, true},
		stamp + " stdout F":                    {"", false, true, true},
		"2026-01-02T03:04:05+01:00 stdout F z": {"z", false, true, true},
		stamp + " stdin F x":                   {stamp + " stdin F x", false, true, false},
		stamp + " stdout X x":                  {stamp + " stdout X x", false, true, false},
		"panic: no log":                        {"panic: no log", false, true, false},
		"":                                     {"", false, true, false},
		strings.Repeat("x", 100) + " stdout F tooLong": {strings.Repeat("x", 100) + " stdout F tooLong", false, true, false},
	} {
		got, ok := crilog.Parse([]byte(in))
		if string(got.Content) != want.text || got.Stderr != want.stderr || got.Full != want.full || ok != want.isOK {
			t.Errorf("%q: got %+v (%q), %v", in, got, got.Content, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(stamp + " stdout F x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		line, ok := crilog.Parse(in)
		if !bytes.HasSuffix(in, line.Content) || ok == (len(in) < 20) && ok {
			t.Fatalf("%q became %q", in, line.Content)
		}
	})
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(f, "%s stdout F %s\n", stamp, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFollowSeesEveryLineOnceAcrossRotations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	ended, lines := make(chan struct{}), make(chan string, 1000)
	result := make(chan error, 1)
	go func() {
		result <- crilog.Follow(t.Context(), path, ended, func(l crilog.Line) error {
			lines <- string(l.Content)
			return nil
		})
	}()
	var want, got []string
	catchUp := func(n int) {
		for len(got) < n {
			select {
			case l := <-lines:
				got = append(got, l)
			case err := <-result:
				t.Fatalf("ended after %d lines: %v", len(got), err)
			}
		}
	}
	for round := range 5 {
		for i := range 20 {
			want = append(want, fmt.Sprintf("%d-%d", round, i))
			write(t, path, want[len(want)-1])
		}
		if round%2 == 0 {
			catchUp(len(want))
		} else {
			catchUp(len(want) - 19) // the reader has this file, which is then rotated under it
		}
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, round)); err != nil {
			t.Fatal(err)
		}
		write(t, path)
	}
	want = append(want, "last")
	write(t, path, "last")
	close(ended)
	catchUp(len(want))
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q,\nwant %q", got, want)
	}
}

func TestFollowEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	none := func(crilog.Line) error { return nil }
	if err := crilog.Follow(t.Context(), path, nil, none); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("no file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := crilog.Follow(ctx, path, make(chan struct{}), none); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled: %v", err)
	}
	stop := errors.New("stop")
	write(t, path, "x")
	if err := crilog.Follow(t.Context(), path, nil, func(crilog.Line) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("handler: %v", err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := crilog.Follow(t.Context(), path, nil, none); err == nil || !strings.Contains(err.Error(), "no log of CRI") {
		t.Fatalf("endless line: %v", err)
	}
}
