package stdio

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/logs"
)

// bench is one process's stdio without a process: the test writes into the child's end.
type bench struct {
	t       *testing.T
	dir     string
	cursors *Cursors
	cfg     Config
	child   Child
}

const (
	testSeq  = 77
	testSlot = 0
)

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	b := &bench{t: t, dir: dir, cfg: Config{ID: "test", Dir: dir + "/io", LogPath: dir + "/log"}}
	b.cursors = b.openCursors()
	return b
}

func (b *bench) openCursors() *Cursors {
	c, err := OpenCursors(b.dir + "/cursors")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return c
}

func shared(t *testing.T) *Shared {
	p, err := sys.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	s := NewShared(p, slog.New(slog.NewTextHandler(io.Discard, nil)), func() {}, func(string) {})
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// create makes the FIFOs as the first keeper does.
func (b *bench) create() *Stdio {
	cur, slot, err := b.cursors.New(testSeq)
	if err != nil || slot != testSlot {
		b.t.Fatalf("slot %d, %v", slot, err)
	}
	s, child, err := NewFIFOs(shared(b.t), b.cfg, cur, Owner{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.child = child
	b.t.Cleanup(func() {
		if err := child.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return s
}

// abandon is what a kill does to the keeper's files.
func (b *bench) abandon(s *Stdio) {
	if err := s.closeOwn(); err != nil {
		b.t.Fatal(err)
	}
}

// succeed is what the next keeper does, with a mapping of its own.
func (b *bench) succeed() *Stdio {
	cur, err := b.openCursors().Claim(testSlot, testSeq)
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := Restore(shared(b.t), b.cfg, cur)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) write(text string) {
	if _, err := b.child[1].WriteString(text); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) finish(s *Stdio) {
	if err := s.finish(); err != nil {
		b.t.Fatal(err)
	}
}

// output is what the log holds of stdout.
func (b *bench) output() string {
	data, err := os.ReadFile(b.cfg.LogPath)
	if err != nil {
		b.t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(parts) != 4 || len(parts[0]) != 30 || !strings.HasSuffix(line, "\n") {
			b.t.Fatalf("bad record %q", line)
		}
		out.WriteString(parts[3])
		if parts[2] == "F" {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// mover moves one chunk of output step by step, so that a test can stop anywhere.
type mover struct {
	t       *testing.T
	s       *Stdio
	records []byte
	at      time.Time
	step    step
}

// The output of the tests: what had come before, whole lines, and the beginning of another.
const before, lines, rest = "held from before, ", "one\ntwo\nthree\n", "and "

func newMover(t *testing.T, s *Stdio) *mover {
	m := &mover{t: t, s: s, at: time.Unix(1700000000, 5)}
	var used int
	if m.records, used = logs.Format(nil, 0, m.at, logs.Stdout, []byte(before+lines), false); used != len(before+lines) {
		t.Fatal("bad test data")
	}
	return m
}

func (m *mover) begin() {
	size, err := m.s.log.Size()
	newLine, ok := m.s.cursor.replaceLine(logs.Stdout, []byte(rest))
	if err != nil || !ok {
		m.t.Fatal(err, ok)
	}
	m.step = step{
		stream: logs.Stdout, length: len(lines + rest), last: rest[len(rest)-1], newLine: newLine,
		out: len(m.records), at: m.at, log: m.s.log.Identity(), offset: size,
	}
	m.s.cursor.begin(m.step)
}

func (m *mover) log(n int) {
	size, err := m.s.log.Size()
	if err == nil {
		err = m.s.log.Append(size, m.records[:n])
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *mover) take() {
	if err := take(m.s.out[0].fd, []byte(lines+rest), m.s.cursor.marker()); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mover) finish() { m.s.cursor.finish(m.step) }

// A keeper that stops at any point of moving a chunk has a successor that makes it whole.
func TestRestoreAtEveryPoint(t *testing.T) {
	points := []struct {
		name string
		stop func(m *mover)
	}{
		{"before", func(*mover) {}},
		{"half a beginning", func(m *mover) { m.begin(); m.s.cursor.slot[offOut]++ }}, // not what the checksum says
		{"begun", func(m *mover) { m.begin() }},
		{"first byte of the log", func(m *mover) { m.begin(); m.log(1) }},
		{"half the log", func(m *mover) { m.begin(); m.log(len(m.records) / 2) }},
		{"whole log", func(m *mover) { m.begin(); m.log(len(m.records)) }},
		{"taken", func(m *mover) { m.begin(); m.log(len(m.records)); m.take() }},
		{"line counted", func(m *mover) {
			m.begin()
			m.log(len(m.records))
			m.take()
			m.finish()
			m.s.cursor.slot[offState] = 1
		}},
		{"done", func(m *mover) { m.begin(); m.log(len(m.records)); m.take(); m.finish() }},
	}
	for _, p := range points {
		for name, rotated := range map[string]bool{p.name: false, p.name + ", rotated": true} {
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				s := b.create()
				b.write(before)
				b.pumpAll(s)
				if got := string(s.cursor.line(logs.Stdout)); got != before {
					t.Fatalf("unfinished line %q", got)
				}
				b.write(lines + rest)
				p.stop(newMover(t, s))
				b.abandon(s)
				if rotated {
					if err := os.Rename(b.cfg.LogPath, b.cfg.LogPath+".1"); err != nil {
						t.Fatal(err)
					}
				}
				s = b.succeed()
				b.write("four\n")
				b.finish(s)
				got := b.output()
				if rotated {
					b.cfg.LogPath += ".1"
					got = b.output() + got
				}
				if want := before + lines + rest + "four\n"; got != want {
					t.Errorf("log holds %q, want %q", got, want)
				}
			})
		}
	}
}

// The same for the other movement: into the unfinished line.
func TestRestoreUnfinishedLine(t *testing.T) {
	const text = "no end"
	for _, point := range []string{"before", "begun", "taken", "counted", "done"} {
		t.Run(point, func(t *testing.T) {
			b := newBench(t)
			s := b.create()
			b.write(text)
			k := step{stream: logs.Stdout, length: len(text), last: text[len(text)-1], newLine: held(len(text))}
			if point != "before" {
				s.cursor.extendLine(logs.Stdout, []byte(text))
				s.cursor.begin(k)
			}
			if point == "taken" || point == "counted" || point == "done" {
				if err := take(s.out[0].fd, []byte(text), s.cursor.marker()); err != nil {
					t.Fatal(err)
				}
			}
			if point == "counted" || point == "done" {
				s.cursor.finish(k)
			}
			if point == "counted" {
				s.cursor.slot[offState] = 1
			}
			b.abandon(s)
			s = b.succeed()
			b.write(" of a line\nand another")
			b.finish(s)
			if got, want := b.output(), "no end of a line\nand another"; got != want {
				t.Errorf("log holds %q, want %q", got, want)
			}
		})
	}
}

// Somebody removed the log while nobody wrote it: the output goes into a new one.
func TestRestoreWithoutLog(t *testing.T) {
	b := newBench(t)
	s := b.create()
	b.write("text\n")
	size, err := s.log.Size()
	if err != nil {
		t.Fatal(err)
	}
	s.cursor.begin(step{stream: logs.Stdout, length: 5, last: '\n', out: 45, at: time.Now(), log: s.log.Identity(), offset: size})
	b.abandon(s)
	if err := os.Remove(b.cfg.LogPath); err != nil {
		t.Fatal(err)
	}
	b.finish(b.succeed())
	if got := b.output(); got != "text\n" {
		t.Errorf("log holds %q", got)
	}
}

func FuzzCursorPending(f *testing.F) {
	c := NewCursor()
	c.begin(step{stream: logs.Stderr, length: 5, last: 'x', out: 45, at: time.Now(), log: logs.Identity{Dev: 1, Ino: 2}, offset: 9, newLine: 3})
	f.Add(append([]byte(nil), c.slot...))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCursor()
		copy(c.slot, data)
		k, ok := c.pending()
		if len(c.line(logs.Stdout)) > holdBytes || len(c.line(logs.Stderr)) > holdBytes {
			t.Fatal("an unfinished line that is too long")
		}
		if ok && (k.length < 0 || k.length > chunkBytes || k.newLine.len() >= holdBytes || k.offset < 0) {
			t.Fatalf("%+v is out of bounds", k)
		}
	})
}
