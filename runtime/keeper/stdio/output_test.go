package stdio

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/logs"
)

// pumpAll moves what is there now.
func (b *bench) pumpAll(s *Stdio) {
	b.t.Helper()
	for more := true; more; {
		var err error
		if more, err = s.turn(&s.out[0], false); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestUnfinishedLines(t *testing.T) {
	b := newBench(t)
	s := b.create()
	long := strings.Repeat("x", logs.MaxLine)
	for _, piece := range []string{"a", "b", "c\n", "d\ne", "f\n", long[:logs.MaxLine-1], "y", "z\n", "end"} {
		b.write(piece)
		b.pumpAll(s)
	}
	b.finish(s)
	if got, want := b.output(), "abc\nd\nef\n"+long[:logs.MaxLine-1]+"yz\nend"; got != want {
		t.Errorf("log holds %d bytes, want %d", len(got), len(want))
	}
	data, err := os.ReadFile(b.cfg.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n != 6 { // abc, d, ef, P, z, end
		t.Errorf("%d records:\n%.2000s", n, data)
	}
}

// A process may set its output to packets: reading a part of one loses the rest.
func TestPackets(t *testing.T) {
	b := newBench(t)
	s := b.create()
	if _, err := unix.FcntlInt(b.child[1].Fd(), unix.F_SETFL, unix.O_RDWR|unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	want := ""
	for range 16 {
		b.write("two\nlines, unfinished;")
		want += "two\nlines, unfinished;"
	}
	b.pumpAll(s)
	b.write(strings.Repeat("\n", 4096))
	b.finish(s)
	if got := b.output(); got != want+strings.Repeat("\n", 4096) {
		t.Errorf("log holds %.500q", got)
	}
}

// A process can read its own output away; the log is then what came through, and nothing gets stuck.
func TestProcessReadsItsOutput(t *testing.T) {
	b := newBench(t)
	s := b.create()
	b.write("first\nsecond")
	if _, err := b.child[1].Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	b.pumpAll(s)
	b.write(" line\n")
	b.finish(s)
	if got := b.output(); got != "st\nsecond line\n" {
		t.Errorf("log holds %q", got)
	}
}

// A process that is not root may open its output by name, as /proc/self/fd/1 is.
func TestOwnerMayReopen(t *testing.T) {
	b := newBench(t)
	cur, _, err := b.cursors.New(testSeq)
	if err != nil {
		t.Fatal(err)
	}
	s, child, err := NewFIFOs(shared(t), b.cfg, cur, Owner{UID: 1234, GID: 5678})
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(child[1].Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != 1234 || st.Gid != 5678 || st.Mode != syscall.S_IFIFO|0o600 {
		t.Errorf("owner %d:%d, mode %o", st.Uid, st.Gid, st.Mode)
	}
	b.abandon(s)
}

// Output without a log, and a log that comes back.
func TestLossIsCountedAndEnds(t *testing.T) {
	b := newBench(t)
	s := b.create()
	b.write("before\n")
	b.pumpAll(s)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	size, err := s.log.Size()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(size) + 10, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	for range 100 { // more than the FIFO holds
		b.write(strings.Repeat("lost line\n", 500))
		b.pumpAll(s)
	}
	if s.lost != 100*5000 {
		t.Errorf("%d bytes are counted as lost, want %d", s.lost, 100*5000)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	b.write("after\n")
	b.finish(s)
	if got := b.output(); got != "before\nafter\n" || s.lost != 0 {
		t.Errorf("log holds %q, %d bytes lost", got, s.lost)
	}
}

// A process that has ended may leave one that writes for ever.
func TestFinishWithEndlessWriter(t *testing.T) {
	b := newBench(t)
	s := b.create()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			// Fails with EAGAIN when the FIFO is full and nobody reads any more.
			_, _ = unix.Write(int(b.child[1].Fd()), []byte("more and more\n"))
		}
	}()
	if err := unix.SetNonblock(int(b.child[1].Fd()), true); err != nil {
		t.Fatal(err)
	}
	b.finish(s) // returns
	close(stop)
	<-stopped
}

// A tmpfs without room for an unfinished line: it is logged as it is, and the keeper lives.
func TestNoRoomForUnfinishedLine(t *testing.T) {
	b := newBench(t)
	s := b.create()
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0) // can't be allocated
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	s.cursor.file = full
	for _, piece := range []string{"a", "b", "c\nd", "e\n"} {
		b.write(piece)
		b.pumpAll(s)
	}
	b.finish(s)
	if got := b.output(); got != "abc\nde\n" {
		t.Errorf("log holds %q", got)
	}
	data, err := os.ReadFile(b.cfg.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), " P "); n != 3 {
		t.Errorf("%d unfinished records, want 3:\n%s", n, data)
	}
}
