package fork_test

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/fork"
)

// BenchmarkJoinPIDNS starts processes in another's PID namespace, as exec does. Besides the median it reports the 10th percentile, which
// other load on the machine moves less.
func BenchmarkJoinPIDNS(b *testing.B) {
	program := func(argv ...string) *fork.Program {
		bl := fork.NewBuilder()
		bl.Call("execute "+argv[0], unix.SYS_EXECVE, bl.Str(argv[0]), bl.Argv(argv), bl.Argv(nil))
		p, err := bl.Program()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { p.Close() })
		return p
	}
	reap := func(c fork.Child) {
		if err := unix.Waitid(unix.P_PID, c.PID, nil, unix.WEXITED, nil); err != nil {
			b.Error(err)
		}
		c.Pidfd.Close()
	}
	first, err := fork.Start(program("/bin/sleep", "1000"), fork.Options{Flags: unix.CLONE_NEWPID})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := unix.Kill(first.PID, unix.SIGKILL); err != nil {
			b.Error(err)
		}
		reap(first)
	}()
	p := program("/bin/true")
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		c, err := fork.Start(p, fork.Options{PIDNS: first.Pidfd})
		took = append(took, time.Since(begin))
		if err != nil {
			b.Fatal(err)
		}
		reap(c)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/10].Microseconds()), "p10-µs")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
}
