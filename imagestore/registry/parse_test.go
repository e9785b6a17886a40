package registry

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestContentRange(t *testing.T) {
	for in, want := range map[string][2]int64{
		"bytes 5-9/10": {5, 10}, "bytes 0-0/*": {0, -1}, "": {-1, -1}, "bytes */10": {-1, -1}, "items 1-2/3": {-1, -1}, "bytes -5-9/10": {-1, -1},
	} {
		if start, total := contentRange(in); start != want[0] || total != want[1] {
			t.Errorf("%q: %d, %d", in, start, total)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "x": 0, "99999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestScrub(t *testing.T) {
	s := newScrubber([]string{"hunter2-pw", "user:hunter2-pw", ""}, http.Header{"X-Key": {"k3y-k3y"}}, nil)
	for in, want := range map[string]string{
		"no hunter2-pw, user:hunter2-pw, k3y-k3y":      "no [secret], [secret], [secret]",
		`Get "https://u:p@h/x?sig=1#f": EOF`:           `Get "https://h/x?…": EOF`,
		"sent Bearer abcdefghijklmnopqrstuvwxyz, fine": "sent Bearer [secret], fine",
		"a\x00b\nc\xff": "a b c�",
		`Get "https://h/x": dial tcp 10.0.0.1:443: refused`: `Get "https://h/x": dial tcp 10.0.0.1:443: refused`,
	} {
		if got := s.text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add("bytes 5-9/10", "7", `{"errors":[{"code":"A","message":"b"}]}`, "https://h/x?y")
	s := newScrubber([]string{"hunter2-pw"}, nil, nil)
	f.Fuzz(func(t *testing.T, span, wait, body, text string) {
		if start, total := contentRange(span); start < -1 || total < -1 && total != -1 && start >= 0 && total >= 0 {
			t.Fatal(start, total)
		}
		if d := retryAfter(wait, time.Now()); d < 0 {
			t.Fatal(d)
		}
		got := s.text(reasons([]byte(body)) + text + "hunter2-pw" + text)
		if strings.Contains(got, "hunter2-pw") || len(got) > maxErrorText+10 || strings.ContainsAny(got, "\x00\n") {
			t.Fatalf("%q", got)
		}
	})
}
