package sys

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const procStatLine = "17 (na) me) R 1) Z 1 17 17 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 100 200 300 1 1 1 1 1 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 9\n"

func TestProcStat(t *testing.T) {
	st, err := parseProcStat([]byte(procStatLine))
	if want := (ProcStat{'Z', 12345, 9}); err != nil || st != want {
		t.Errorf("%+v, %v; want %+v", st, err, want)
	}
	for _, bad := range []string{"", "17", "17 (x)", "17 (x) R 1 2", strings.Replace(procStatLine, "12345", "x", 1), strings.Replace(procStatLine, " 9\n", " x", 1)} {
		if st, err := parseProcStat([]byte(bad)); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %+v, %v", bad, st, err)
		}
	}
	if st, err := ReadProcStat(os.Getpid()); err != nil || st.StartTime == 0 || st.Ended() {
		t.Errorf("own stat: %+v, %v", st, err)
	}
}

func FuzzProcStat(f *testing.F) {
	f.Add([]byte(procStatLine))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parseProcStat(data); err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("kind of %v", err)
		}
	})
}
