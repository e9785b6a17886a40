package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// counter prints numbered lines, a hundred a second, and exits with code 9 after n.
func counter(n int) []string {
	return []string{"sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); usleep 10000; done; exit 9", n)}
}

// wantLines wants a log to hold "line 0" … "line n-1", each once, in order.
func wantLines(t *testing.T, path string, n int) {
	t.Helper()
	lines, err := node.ReadLog(path)
	testutil.Must(t, err)
	if len(lines) != n {
		t.Errorf("%d lines in the log, want %d", len(lines), n)
	}
	for i, l := range lines {
		if l.Text != fmt.Sprintf("line %d", i) || !l.Full {
			t.Fatalf("line %d of the log is %q (full: %v)", i, l.Text, l.Full)
		}
	}
}

// TestDaemonKilled wants pods to serve and to log without berthd, and everything to work after its start.
func TestDaemonKilled(t *testing.T) {
	f := setup(t)
	p := f.pod(t, "p")
	server := run(t, p, "web", web)
	ip, err := p.IP(t.Context())
	testutil.Must(t, err)
	wantServes(t, ip)
	count := run(t, p, "count", busybox, counter(300)...)
	ends := run(t, p, "ends", busybox, "sh", "-c", "sleep 1; exit 42")
	before, err := server.Status(t.Context())
	testutil.Must(t, err)

	testutil.Must(t, f.Kill())
	killed := time.Now()
	wantServes(t, ip)
	time.Sleep(1500 * time.Millisecond) // a container ends meanwhile: that is the point
	f.start(t)

	after, err := server.With(f.Client).Status(t.Context())
	testutil.Must(t, err)
	if after.GetState() != cri.ContainerState_CONTAINER_RUNNING || after.GetStartedAt() != before.GetStartedAt() {
		t.Errorf("the server is %v, started at %d; before it was at %d", after.GetState(), after.GetStartedAt(), before.GetStartedAt())
	}
	s, err := ends.With(f.Client).WaitExited(t.Context())
	testutil.Must(t, err)
	if at := time.Unix(0, s.GetFinishedAt()); s.GetExitCode() != 42 || at.Before(killed) || at.After(killed.Add(1500*time.Millisecond)) {
		t.Errorf("what ended meanwhile shows code %d at %v; berthd was killed at %v", s.GetExitCode(), at, killed)
	}
	if out := exec(t, server.With(f.Client), "echo", "again"); out != "again\n" {
		t.Errorf("exec after the restart: %q", out)
	}
	s, err = count.With(f.Client).WaitExited(t.Context())
	testutil.Must(t, err)
	if s.GetExitCode() != 9 {
		t.Errorf("the counter exits with %d", s.GetExitCode())
	}
	wantLines(t, count.Log, 300)
	status, err := f.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.ID})
	testutil.Must(t, err)
	if status.GetStatus().GetNetwork().GetIp() != ip || status.GetStatus().GetState() != cri.PodSandboxState_SANDBOX_READY {
		t.Errorf("the pod is %v with %s, was at %s", status.GetStatus().GetState(), status.GetStatus().GetNetwork().GetIp(), ip)
	}
	run(t, p.With(f.Client), "new", busybox, "sleep", "1000")
}

// TestKeeperKilled wants containers to run on, no line lost and none twice, codes right, and a new keeper to take over.
func TestKeeperKilled(t *testing.T) {
	f := setup(t)
	p := f.pod(t, "p")
	count := run(t, p, "count", busybox, counter(400)...)
	ends := run(t, p, "ends", busybox, "sh", "-c", "sleep 1.5; exit 43")
	stays := run(t, p, "stays", busybox, "sleep", "1000")
	for range 3 {
		time.Sleep(300 * time.Millisecond) // somewhere in the middle of the output
		f.killKeeper(t)
		f.wantKeeper(t)
	}
	s, err := ends.WaitExited(t.Context())
	testutil.Must(t, err)
	if s.GetExitCode() != 43 {
		t.Errorf("exit code %d (%s: %s), want 43", s.GetExitCode(), s.GetReason(), s.GetMessage())
	}
	s, err = count.WaitExited(t.Context())
	testutil.Must(t, err)
	if s.GetExitCode() != 9 {
		t.Errorf("the counter exits with %d (%s: %s), want 9", s.GetExitCode(), s.GetReason(), s.GetMessage())
	}
	wantLines(t, count.Log, 400)
	if out := exec(t, stays, "echo", "again"); out != "again\n" {
		t.Errorf("exec through the new keeper: %q", out)
	}
	after := run(t, p, "after", busybox, "sh", "-c", "exit 44")
	s, err = after.WaitExited(t.Context())
	testutil.Must(t, err)
	if s.GetExitCode() != 44 {
		t.Errorf("a new container exits with %d", s.GetExitCode())
	}
	testutil.Must(t, stays.Stop(t.Context(), 0))
}

// TestBothKilled wants containers to run on, their output to be kept, and what can't be known to be said, not invented.
func TestBothKilled(t *testing.T) {
	f := setup(t)
	p := f.pod(t, "p")
	server := run(t, p, "web", web)
	ip, err := p.IP(t.Context())
	testutil.Must(t, err)
	wantServes(t, ip)
	count := run(t, p, "count", busybox, counter(300)...)
	ends := run(t, p, "ends", busybox, "sh", "-c", "sleep 1; exit 45")

	testutil.Must(t, f.Kill())
	f.killKeeper(t)
	wantServes(t, ip)
	time.Sleep(1500 * time.Millisecond)
	f.start(t)

	s, err := ends.With(f.Client).WaitExited(t.Context())
	testutil.Must(t, err)
	if known := s.GetExitCode() == 45; !known && (s.GetExitCode() != 255 || s.GetReason()+s.GetMessage() == "") {
		t.Errorf("exit %d, reason %q, message %q; want 45, or 255 and why", s.GetExitCode(), s.GetReason(), s.GetMessage())
	}
	if out := exec(t, server.With(f.Client), "echo", "again"); out != "again\n" {
		t.Errorf("exec: %q", out)
	}
	_, err = count.With(f.Client).WaitExited(t.Context())
	testutil.Must(t, err)
	wantLines(t, count.Log, 300)
	wantServes(t, ip)
}

// TestKilledWithoutPods wants a node without pods to come back, with either of its processes gone.
func TestKilledWithoutPods(t *testing.T) {
	f := setup(t)
	f.killKeeper(t)
	f.wantKeeper(t)
	run(t, f.pod(t, "a"), "c", busybox, "sleep", "1000")
	testutil.Must(t, f.Kill())
	f.killKeeper(t)
	f.start(t)
	run(t, f.pod(t, "b"), "c", busybox, "sleep", "1000")
	list, err := f.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{})
	testutil.Must(t, err)
	names := []string{}
	for _, p := range list.GetItems() {
		names = append(names, p.GetMetadata().GetName())
	}
	if len(names) != 2 || !strings.Contains(strings.Join(names, " "), "a") {
		t.Errorf("pods %v, want a and b", names)
	}
}
