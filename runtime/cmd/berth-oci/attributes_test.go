package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/oci"
)

// The processes of a container and of an exec join a class of service. Its folder is a fake, as no machine that runs the
// suite has a processor with RDT: both write to a file that is there already.
func TestIntelRdt(t *testing.T) {
	p := newPlace(t)
	gold := filepath.Join(t.TempDir(), "gold")
	testutil.Must(t, os.Mkdir(gold, 0o755))
	for name, content := range map[string]string{"schemata": "    L3:0=f;1=f\n", "tasks": ""} {
		testutil.Must(t, os.WriteFile(filepath.Join(gold, name), []byte(content), 0o644))
	}
	testutil.Must(t, os.WriteFile(filepath.Join(gold, "..", "schemata"), []byte("    MB:0=100\n"), 0o644))
	joined := func(who string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(gold, "tasks"))
		testutil.Must(t, errors.Join(err, os.Truncate(filepath.Join(gold, "tasks"), 0)))
		want(t, who+" wrote", string(data), "0")
	}
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.spec.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=f"}
	p.write()
	p.fails(1, "linux.intelRdt: no resctrl", "run", "c")
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	testutil.Must(t, err)
	defer null.Close()
	stdio := [3]*os.File{null, null, null}
	r := oci.New(oci.Config{Root: p.root, Logger: slog.New(slog.DiscardHandler), Resctrl: filepath.Dir(gold)})
	testutil.Must(t, r.Create(t.Context(), oci.CreateOptions{ID: "c", Bundle: p.bundle, Stdio: stdio, PidFile: filepath.Join(p.bundle, "pid")}))
	joined("the container")
	testutil.Must(t, r.Start(t.Context(), "c"))
	child, err := r.Exec(t.Context(), oci.ExecOptions{ID: "c", Stdio: stdio, Process: func(s *specs.Spec) (*specs.Process, error) {
		process := *s.Process
		process.Args = []string{"true"}
		return &process, nil
	}})
	testutil.Must(t, err)
	joined("the exec")
	code, err := child.Wait(t.Context(), null, null)
	if err := errors.Join(err, child.Close()); code != 0 || err != nil {
		t.Errorf("exec: %d, %v", code, err)
	}
	schemata := func(wanted string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(gold, "schemata"))
		testutil.Must(t, err)
		want(t, "schemata", string(data), wanted)
	}
	testutil.Must(t, r.Update(t.Context(), "c", nil, &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=00000003;1=1"}))
	schemata("L3:0=00000003;1=1\n")
	if err := r.Update(t.Context(), "c", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "x"}}, &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=0000000f;1=3"}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("update with a bad limit: %v", err)
	}
	schemata("L3:0=00000003;1=1\n")
	stats, err := r.Stats("c")
	testutil.Must(t, err)
	if s := stats.Share; s == nil || strings.Join(s.Machine, " ") != "MB:0=100" || strings.Join(s.Own, " ") != "L3:0=00000003;1=1" {
		t.Errorf("statistics %+v", s)
	}
	p.fails(1, "linux.intelRdt: no resctrl", "events", "--stats", "c")
	p.fails(1, "linux.intelRdt.memBwSchema: ", "update", "--mem-bw-schema", "L3:0=1", "c")
	p.fails(1, "linux.intelRdt: no resctrl", "update", "--l3-cache-schema", "L3:0=1", "c")
	testutil.Must(t, r.Delete(t.Context(), "c", true))
	data, err := os.ReadFile(filepath.Join(p.bundle, "pid"))
	testutil.Must(t, err)
	pid, err := strconv.Atoi(string(data))
	testutil.Must(t, err)
	_, err = syscall.Wait4(pid, nil, 0, nil)
	testutil.Must(t, err)
}

// A network device of the host's moves into the container, and comes back if the container comes to nothing.
func TestNetDevices(t *testing.T) {
	p := newPlace(t)
	testutil.Must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nd0"}, PeerName: "nd0p"}))
	defer func() {
		l, err := netlink.LinkByName("nd0p")
		if err == nil {
			err = netlink.LinkDel(l)
		}
		// It goes with the container's namespace, some time after its end.
		if missing := (netlink.LinkNotFoundError{}); err != nil && !errors.As(err, &missing) && !errors.Is(err, syscall.ENODEV) {
			t.Error(err)
		}
	}()
	p.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nd0": {Name: "eth7"}}
	p.spec.Process.Args = []string{"/no/such/command"}
	p.write()
	p.fails(1, "no such file", "run", "c")
	_, err := netlink.LinkByName("nd0")
	testutil.Must(t, err)
	p.spec.Process.Args = []string{"cat", "/proc/net/dev"}
	p.write()
	if got := p.ok("run", "c"); !strings.Contains(got, "eth7") {
		t.Errorf("devices of the container:\n%s", got)
	}
}

// A create that fails after its process was made ends that and leaves nothing.
func TestCreateFailsLate(t *testing.T) {
	p := newPlace(t)
	p.write()
	p.fails(1, "send the pidfd", "create", "--pidfd-socket", filepath.Join(p.bundle, "none"), "c")
	want(t, "containers", p.ok("list", "-q"), "")
}
