package journal

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

var at = time.Unix(1700000000, 1)

func start(seq uint64) Record {
	return Record{Start: &Start{
		Seq: seq, ID: fmt.Sprint("p", seq), PID: int(seq) + 100, StartTime: 5, At: at,
		Managed: true, Terminal: seq%2 == 0, Stdin: true, Once: true, Dir: "/io", LogPath: "/log", Slot: 9,
	}}
}

func ended(seq uint64, code int) Record {
	return Record{Ended: seq, Exit: wire.Exit{Code: code, At: at, Known: true}}
}

func sample() []Record { return []Record{start(1), start(2), ended(1, 3), start(3), {Forget: 2}} }

func encode(records []Record) []byte {
	d := []byte(fileMagic)
	for i := range records {
		d = appendRecord(d, &records[i])
	}
	return d
}

func TestParse(t *testing.T) {
	got, good := Parse(encode(sample()))
	if diff := cmp.Diff(sample(), got); diff != "" || good != len(encode(sample())) {
		t.Errorf("%d bytes good\n%s", good, diff)
	}
}

// A journal that is cut anywhere counts up to the last whole record.
func TestParseCut(t *testing.T) {
	data := encode(sample())
	ends := []int{len(fileMagic)}
	for i := range sample() {
		ends = append(ends, len(encode(sample()[:i+1])))
	}
	for n := range data {
		want := 0
		for want+1 < len(ends) && ends[want+1] <= n {
			want++
		}
		records, good := Parse(data[:n])
		wantGood := ends[want]
		if n < len(fileMagic) {
			wantGood = 0
		}
		if len(records) != want || good != wantGood {
			t.Fatalf("cut to %d: %d records in %d bytes, want %d in %d", n, len(records), good, want, wantGood)
		}
	}
}

func TestParseDamaged(t *testing.T) {
	data := encode(sample())
	for i := len(encode(sample()[:2])); i < len(data); i++ {
		bad := append([]byte(nil), data...)
		bad[i] ^= 0x10
		if records, _ := Parse(bad); len(records) < 2 || len(records) >= len(sample()) {
			t.Fatalf("with byte %d changed: %d records", i, len(records))
		}
	}
}

func TestReplay(t *testing.T) {
	twice := append(sample(), sample()...) // a compaction may have met records on their way
	list, last := Replay(twice)
	var got []string
	for _, s := range list {
		got = append(got, fmt.Sprintf("%s %v %d", s.Start.ID, s.Exited, s.Exit.Exit.Code))
	}
	want := []string{"p1 true 3", "p3 false 0"}
	if diff := cmp.Diff(want, got); diff != "" || last != 3 {
		t.Errorf("last %d\n%s", last, diff)
	}
	list, _ = Replay(append(sample(), ended(1, 7), ended(99, 1), Record{Forget: 98}))
	if len(list) != 2 || list[0].Exit.Exit.Code != 7 {
		t.Errorf("a later exit does not count: %+v", list)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	none := func() []Record { return nil }
	j, states, last, damaged, err := Open(dir, none)
	if err != nil || len(states) != 0 || last != 0 || damaged != 0 {
		t.Fatalf("new journal: %d states, %d, %d, %v", len(states), last, damaged, err)
	}
	for _, r := range sample() {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(dir + "/journal")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/journal", append(data, data[20:50]...), 0o600); err != nil {
		t.Fatal(err)
	}
	j, states, last, damaged, err = Open(dir, none)
	if err != nil || len(states) != 2 || last != 3 || damaged != 30 {
		t.Fatalf("damaged journal: %d states, %d, %d, %v", len(states), last, damaged, err)
	}
	if aside, err := os.ReadFile(dir + "/journal.damaged"); err != nil || string(aside) != string(data[20:50]) {
		t.Errorf("set aside: %q, %v", aside, err)
	}
	// What comes later is not hidden by the damage.
	if err := errors.Join(j.Append(start(4)), j.Close()); err != nil {
		t.Fatal(err)
	}
	j, states, last, damaged, err = Open(dir, none)
	if err != nil || len(states) != 3 || last != 4 || damaged != 0 {
		t.Errorf("after it: %d states, %d, %d, %v", len(states), last, damaged, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	live := []Record{start(1), ended(1, 3)}
	j, _, _, _, err := Open(dir, func() []Record { return live })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range live {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	for seq := uint64(2); seq < 20000; seq++ {
		if err := errors.Join(j.Append(start(seq)), j.Append(Record{Forget: seq})); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(dir + "/journal"); err != nil || st.Size() > 2*compactBytes {
		t.Errorf("%d bytes, %v", st.Size(), err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, states, last, _, err := Open(dir, func() []Record { return nil })
	if err != nil || len(states) != 1 || !states[0].Exited || last < 19000 {
		t.Errorf("%+v, last %d, %v", states, last, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAppendRefusesLongRecords(t *testing.T) {
	j, _, _, _, err := Open(t.TempDir(), func() []Record { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	r := start(1)
	r.Start.LogPath = string(make([]byte, maxRecord))
	if err := j.Append(r); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(encode(sample()))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, good := Parse(data)
		if good > len(data) {
			t.Fatalf("%d good bytes of %d", good, len(data))
		}
		if again := encode(records); len(records) > 0 && string(again) != string(data[:good]) {
			t.Fatalf("%x became %x", data[:good], again)
		}
		Replay(records)
	})
}
