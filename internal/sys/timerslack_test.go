package sys

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/testutil"
)

// The thread that is calmed is the runtime's monitor: it wakes up while a goroutine computes, as an idle thread does not, but not
// more often than it may.
func TestCalmMonitor(t *testing.T) {
	const late = 2 * time.Millisecond
	testutil.Must(t, CalmMonitor(late))
	defer func() { testutil.Must(t, CalmMonitor(50*time.Microsecond)) }()
	thread, err := firstThread()
	testutil.Must(t, err)
	before, began := sleeps(t, thread), time.Now()
	var work sync.WaitGroup
	work.Go(func() { // something for it to do: else it sleeps for longer by itself
		for time.Since(began) < 100*time.Millisecond {
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 200_000}, nil)
		}
	})
	for sum := 0; time.Since(began) < 100*time.Millisecond; sum++ {
	}
	work.Wait()
	slept, most := sleeps(t, thread)-before, int(4*time.Since(began)/late) // about 70 of 200; 1,000 without
	if slept == 0 || slept > most {
		t.Errorf("the thread has slept %d times during work, not 1 to %d times", slept, most)
	}
}

func sleeps(t *testing.T, thread int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", thread))
	testutil.Must(t, err)
	_, rest, _ := strings.Cut(string(data), "\nvoluntary_ctxt_switches:")
	n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	testutil.Must(t, err)
	return n
}

func TestWithTimerSlack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack := func() int {
		n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		testutil.Must(t, err)
		return n
	}
	before, within := slack(), 0
	testutil.Must(t, WithTimerSlack(3*time.Millisecond, func() error { within = slack(); return nil }))
	if after := slack(); within != 3_000_000 || after != before {
		t.Errorf("slack within %d ns, before %d, after %d", within, before, after)
	}
}
