package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// TestShrinkKillsNobody: a process holds memory that can't be reclaimed, and its limit is lowered below that.
func TestShrinkKillsNobody(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "memory")
	g, err := h.Create(t.Context(), base+"/held", memoryLimit(256<<20))
	must(t, err)
	cmd, out := holder(t, g, "kept")
	before := limitsOf(t, g) + high(t, g)
	for range 20 {
		err := g.Update(t.Context(), memoryLimit(8<<20))
		if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "linux.resources.memory.limit") {
			t.Fatalf("Update to less than is in use = %v, want ErrFailedPrecondition", err)
		}
	}
	if after := limitsOf(t, g) + high(t, g); after != before {
		t.Errorf("a refused Update left\n%swant\n%s", after, before)
	}
	must(t, g.Update(t.Context(), memoryLimit(128<<20)))
	if frozen, err := g.Frozen(); err != nil || frozen {
		t.Errorf("frozen after an Update: %t, %v", frozen, err)
	}
	must(t, cmd.Process.Signal(syscall.SIGUSR1)) // it still answers
	if line, err := out.ReadString('\n'); line != "alive\n" {
		t.Errorf("the process says %q, %v", line, err)
	}
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Errorf("%d processes were killed for lack of memory, %v", n, err)
	}
}

func memoryLimit(n int64) *specs.LinuxResources {
	return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &n, Swap: &n}}
}

func high(t *testing.T, g *Group) string {
	t.Helper()
	if v2, _ := g.host.isV2("memory"); !v2 {
		return ""
	}
	return "memory.high " + read(t, g, "memory", "memory.high")
}

// The test binary is also the process that holds memory, named by an environment variable: "kept" is what only swap
// could take, "lazy" what the kernel may take at any time (MADV_FREE), like cache.
const (
	holdEnv  = "BERTH_TEST_HOLD"
	holdSize = 64 << 20
)

// hold never returns. It says "full" once it has its memory, and "alive" on SIGUSR1.
func hold(kind string) {
	const madvFree = 8
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	memory, err := syscall.Mmap(-1, 0, holdSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	if kind == "lazy" {
		err = errors.Join(err, syscall.Madvise(memory, madvFree))
	}
	fmt.Println("full", err)
	for range asked {
		fmt.Println("alive")
	}
}

// holder starts such a process in the group.
func holder(t *testing.T, g *Group, kind string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd, out := startTalking(t, g, holdEnv+"="+kind+" exec "+self)
	if line, err := out.ReadString('\n'); line != "full <nil>\n" {
		t.Fatalf("the process that holds memory says %q, %v", line, err)
	}
	return cmd, out
}

// TestShrinkReclaims: what the kernel can have gives way.
func TestShrinkReclaims(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "memory")
	g, err := h.Create(t.Context(), base+"/cache", memoryLimit(256<<20))
	must(t, err)
	cmd, out := holder(t, g, "lazy")
	before := usage(t, g)
	if before < holdSize {
		t.Errorf("only %d bytes are charged", before)
	}
	const limit = 24 << 20
	must(t, g.Update(t.Context(), memoryLimit(limit)))
	if now := usage(t, g); now > limit {
		t.Errorf("%d bytes are in use below a limit of %d", now, limit)
	}
	must(t, cmd.Process.Signal(syscall.SIGUSR1))
	if line, err := out.ReadString('\n'); line != "alive\n" {
		t.Errorf("the process says %q, %v", line, err)
	}
}

func usage(t *testing.T, g *Group) uint64 {
	t.Helper()
	file := "memory.usage_in_bytes"
	if v2, _ := g.host.isV2("memory"); v2 {
		file = "memory.current"
	}
	n, err := strconv.ParseUint(read(t, g, "memory", file), 10, 64)
	must(t, err)
	return n
}

// TestShrinkOfAFrozenGroup: who has paused a container finds it paused.
func TestShrinkOfAFrozenGroup(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "memory")
	g, err := h.Create(t.Context(), base+"/frozen", memoryLimit(256<<20))
	must(t, err)
	_ = start(t, g, "sleep 1000; true")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := g.Freeze(ctx); errors.Is(err, errdefs.ErrNotSupported) {
		testutil.Skip(t, "%v", err)
	}
	must(t, g.Update(ctx, memoryLimit(64<<20)))
	if frozen, err := g.Frozen(); err != nil || !frozen {
		t.Errorf("frozen after an Update: %t, %v", frozen, err)
	}
	must(t, g.Kill(ctx)) // a frozen group can be killed
	must(t, g.Remove(ctx))
}
