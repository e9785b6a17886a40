package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Sizes are what their digits say, times a power of 1024, and never beyond an int64.
func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"0", "-1", "-2", "1k", "4GiB", "8t", "9223372036854775807", "8388608t", "-1k", "kb", "b", " 1 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseBytes(s)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) || n != 0 {
				t.Fatalf("%q: %d, %v", s, n, err)
			}
			return
		}
		digits := strings.TrimLeft(strings.TrimRight(strings.ToLower(strings.TrimSpace(s)), "kmgtib"), "+")
		base, err := strconv.ParseInt(digits, 10, 64)
		is := func(shift int) bool { return base<<shift == n && n>>shift == base }
		if err != nil || n < -1 || !slices.ContainsFunc([]int{0, 10, 20, 30, 40}, is) {
			t.Fatalf("%q is %d", s, n)
		}
	})
}

func FuzzParseSignal(f *testing.F) {
	for _, s := range []string{"9", "KILL", "sigterm", "SIGRTMIN+3", "65", "-1", "0", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSignal(s)
		switch {
		case err != nil && !errors.Is(err, errdefs.ErrInvalid):
			t.Fatalf("%q: kind of %v", s, err)
		case err == nil && (n < 0 || n > maxSignal):
			t.Fatalf("%q is %d", s, n)
		}
	})
}

// A user that is no pair of numbers changes nobody to root, nor to anybody else.
func FuzzSetUser(f *testing.F) {
	for _, s := range []string{"", "0", "1:2", "root", "4294967295", "-1:5", "1:", ":1", "+1", "1:2:3"} {
		f.Add(s, uint64(7))
	}
	f.Fuzz(func(t *testing.T, s string, gid uint64) {
		u := specs.User{UID: 1000, GID: 1001}
		err := (&execFlags{user: s, gids: []uint{uint(gid)}}).setUser(&u)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("%q: kind of %v", s, err)
			}
			return
		}
		want := "1000:1001"
		if s != "" {
			uid, gid, ok := strings.Cut(s, ":")
			if !ok {
				gid = "1001"
			}
			want = trimZeros(uid) + ":" + trimZeros(gid)
		}
		if got := strconv.Itoa(int(u.UID)) + ":" + strconv.Itoa(int(u.GID)); got != want || uint64(u.AdditionalGids[0]) != gid {
			t.Fatalf("%q, %d: %+v", s, gid, u)
		}
	})
}

func trimZeros(s string) string {
	if t := strings.TrimLeft(s, "0"); t != "" || s == "" {
		return t
	}
	return "0"
}

// Of the output of ps nothing is shown but its head and lines that have the number of a process that was asked for.
func FuzzProcessLines(f *testing.F) {
	f.Add("UID PID CMD\nroot 7 a\nroot 8 b\nshort\n")
	f.Add("PID\n7")
	f.Add("")
	f.Fuzz(func(t *testing.T, out string) {
		got, err := processLines(out, []int{7})
		head, rest, _ := strings.Cut(out, "\n")
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) || slices.Contains(strings.Fields(head), "PID") {
				t.Fatalf("%q: %v", out, err)
			}
			return
		}
		shown, ok := strings.CutPrefix(got, head+"\n")
		if !ok {
			t.Fatalf("%q lost its head: %q", out, got)
		}
		for line := range strings.Lines(shown) {
			if !strings.Contains(line, "7") || !strings.Contains(rest, line) {
				t.Fatalf("%q shows %q", out, line)
			}
		}
	})
}

func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0-3,7", "65535", "0-65535", "3-1", "x", ",", "1-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		if n := len(numbers(list)); n > (strings.Count(list, ",")+1)<<16 {
			t.Fatalf("%q is %d numbers", list, n)
		}
	})
}
