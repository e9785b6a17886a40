package keeper_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// staticTrue builds the smallest program that Go makes.
func staticTrue(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/main.go", []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+"/true", dir+"/main.go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir + "/true"
}

// BenchmarkStart is from the request to the end of execve, as berthd sees it: fork, four namespaces, FIFOs, log, journal.
func BenchmarkStart(b *testing.B) {
	for _, io := range []string{"direct", "managed"} {
		b.Run(io, func(b *testing.B) {
			n := newNode(b)
			s := n.dial()
			p := program(b, nil, staticTrue(b))
			var took []time.Duration
			for b.Loop() {
				id := fmt.Sprint(len(took))
				req := client.StartRequest{ID: id, Program: p, Flags: allNamespaces}
				if io == "managed" {
					req.Stdio.Managed = n.managed(id)
				}
				begin := time.Now()
				st, err := s.Start(context.Background(), req)
				took = append(took, time.Since(begin))
				if err != nil {
					b.Fatal(err)
				}
				st.Pidfd.Close()
				s.exit(id)
				if err := s.Forget(context.Background(), id); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*9/10].Microseconds()), "p90-µs")
		})
	}
}

// BenchmarkLog is the output that gets through to the log.
func BenchmarkLog(b *testing.B) {
	n := newNode(b)
	s := n.dial()
	const size = 256 << 20
	b.SetBytes(size)
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprint(i)
		m := n.managed(id)
		s.start(id, sh(b, fmt.Sprintf("yes 'a line of a log, about as long as they are, with some words' | head -c %d", size)), client.Stdio{Managed: m})
		s.exit(id)
		if err := os.Remove(m.LogPath); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQuiet is from a line of input to its echo, as an attached client sees it, beside processes that log without end.
func BenchmarkQuiet(b *testing.B) {
	for _, loud := range []int{0, 1, 4} {
		b.Run(fmt.Sprintf("loud=%d", loud), func(b *testing.B) {
			n := newNode(b)
			s := n.dial()
			f := startFlood(b, n, s, loud)
			m := n.managed("quiet")
			m.Stdin = true
			s.start("quiet", program(b, nil, "/bin/cat"), client.Stdio{Managed: m})
			in, out := attach(b, s, "quiet")
			begin, bytes := time.Now(), f.count()
			var took []time.Duration
			for b.Loop() {
				asked := time.Now()
				say(b, in, out, "a quiet line\n")
				took = append(took, time.Since(asked))
				if len(took)%16 == 0 {
					f.count()
				}
			}
			rate := float64(f.count()-bytes) / time.Since(begin).Seconds()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(rate/1e6, "loud-MB/s")
		})
	}
}

// BenchmarkUpgrade is from the request to the answer of the program that the keeper has become, with idle processes that have FIFOs
// and a log. It runs the program twice: once to ask it whether it can.
func BenchmarkUpgrade(b *testing.B) {
	for _, count := range []int{0, 100, 1000} {
		b.Run(fmt.Sprintf("processes=%d", count), func(b *testing.B) {
			n := newNode(b)
			s := n.dial()
			p := program(b, nil, "/bin/sleep", "100000")
			for i := range count {
				s.start(fmt.Sprint(i), p, client.Stdio{Managed: n.managed(fmt.Sprint(i))})
			}
			for b.Loop() {
				n.mustUpgrade()
			}
		})
	}
}

// maxMemory is what one idle process may cost the keeper, in KiB.
const maxMemory = 16

// BenchmarkMemory reports what the keeper's memory grows by for each idle process with FIFOs and a log.
func BenchmarkMemory(b *testing.B) {
	if b.N > 1 {
		testutil.Skip(b, "once is enough")
	}
	dir, err := os.MkdirTemp("/dev/shm", "berth-keeper-test-")
	if err != nil {
		b.Fatal(err)
	}
	n := &node{t: b, dir: dir}
	b.Cleanup(func() {
		n.killAll()
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	bin := filepath.Join(b.TempDir(), "berth-keeper")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "../cmd/berth-keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	n.cmd = exec.Command(bin, "--ready", "--socket", dir+"/socket", "--state", dir+"/state")
	n.cmd.Stdin = w
	if err := n.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	w.Close()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	s := n.dial()
	const settle = 5 * time.Second // the keeper gives memory back when it has been idle for a while
	time.Sleep(settle)
	before := memory(b, n.cmd.Process.Pid)
	const count = 1000
	for i := range count {
		id := strings.Repeat("f", 60) + fmt.Sprintf("%04d", i)
		s.start(id, sh(b, "echo hello; exec sleep 100000"), client.Stdio{Managed: n.managed(id)})
	}
	time.Sleep(settle)
	after := memory(b, n.cmd.Process.Pid)
	for _, kind := range []string{"Pss", "Pss_Anon", "Pss_Shmem", "Rss"} {
		b.ReportMetric(float64(before[kind]), "base-"+kind+"-KiB")
		b.ReportMetric(float64(after[kind]-before[kind])/count, kind+"-KiB/process")
	}
	if more := after["Pss"] - before["Pss"]; more > maxMemory*count {
		b.Errorf("%.2f KiB for each idle process, more than %d", float64(more)/count, maxMemory)
	}
	b.ReportMetric(0, "ns/op")
}

// memory returns the values of smaps_rollup in KiB.
func memory(b *testing.B, pid int) map[string]int {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	values := make(map[string]int)
	for line := range strings.Lines(string(data)) {
		var name string
		var kib int
		if _, err := fmt.Sscanf(line, "%s %d kB", &name, &kib); err == nil {
			values[strings.TrimSuffix(name, ":")] = kib
		}
	}
	return values
}
