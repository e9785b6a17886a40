package logs

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 7, time.FixedZone("", 3600))

const stamp = "2026-01-02T11:00:00.000000007Z "

func TestFormat(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	tests := []struct {
		name  string
		src   string
		flush bool
		limit int
		want  []string
		used  int
	}{
		{"nothing", "", true, 0, nil, 0},
		{"lines", "a\n\nb\n", false, 0, []string{"F a", "F ", "F b"}, 5},
		{"unfinished", "a\nb", false, 0, []string{"F a"}, 2},
		{"unfinished, flushed", "a\nb", true, 0, []string{"F a", "P b"}, 3},
		{"longest line", long + "\n", false, 0, []string{"F " + long}, MaxLine + 1},
		{"longest line without its end", long, false, 0, []string{"P " + long}, MaxLine},
		{"longer line", long + "y\n", false, 0, []string{"P " + long, "F y"}, MaxLine + 2},
		{"longer line without its end", long + "y", false, 0, []string{"P " + long}, MaxLine},
		{"limit", "a\nb\nc\n", false, 2*(headerBytes+2) + 1, []string{"F a", "F b"}, 4},
		{"limit below one record", "a\nb\n", false, 1, []string{"F a"}, 2},
		{"carriage return stays", "a\r\n", false, 0, []string{"F a\r"}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := ""
			for _, w := range tt.want {
				want += stamp + "stderr " + w + "\n"
			}
			got, used := Format(nil, tt.limit, noon, Stderr, []byte(tt.src), tt.flush)
			if diff := cmp.Diff(want, string(got)); diff != "" || used != tt.used {
				t.Errorf("used %d, want %d\n%s", used, tt.used, diff)
			}
		})
	}
}

func FuzzFormat(f *testing.F) {
	f.Add([]byte("a\nb\nc"), 0, false, int64(1))
	f.Add(bytes.Repeat([]byte("x"), MaxLine+5), 100, true, int64(1)<<40)
	f.Fuzz(func(t *testing.T, src []byte, limit int, flush bool, at int64) {
		out, used := Format(nil, limit, time.Unix(0, at), Stdout, src, flush)
		again, all := Format(nil, 0, time.Unix(0, at), Stdout, src[:used], true)
		if all != used || !bytes.Equal(out, again) {
			t.Fatalf("formatting the same %d bytes again gives other records", used)
		}
		if flush && limit <= 0 && used != len(src) {
			t.Fatalf("%d of %d bytes used with flush", used, len(src))
		}
		if got := parse(t, out); !bytes.Equal(got, src[:used]) {
			t.Fatalf("records hold %q, not %q", got, src[:used])
		}
	})
}

// parse puts the output together again from its records.
func parse(t *testing.T, out []byte) []byte {
	var got []byte
	for line := range bytes.Lines(out) {
		if len(line) < headerBytes+1 || line[len(line)-1] != '\n' || len(line) > headerBytes+MaxLine+1 {
			t.Fatalf("bad record %q", line)
		}
		got = append(got, line[headerBytes:len(line)-1]...)
		switch line[headerBytes-2] {
		case 'F':
			got = append(got, '\n')
		case 'P':
		default:
			t.Fatalf("bad tag in %q", line)
		}
	}
	return got
}

func BenchmarkFormat(b *testing.B) {
	src := bytes.Repeat([]byte("a line of a log, about as long as they are: 0123456789 abcdefghij klmnopqrst uvwxyz\n"), 700)
	dst := make([]byte, 0, 256<<10)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		Format(dst, 0, noon, Stdout, src, false)
	}
}
