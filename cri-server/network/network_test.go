package network_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// world is a node: its configuration folder, its plugins, and a network on them.
type world struct {
	t         testing.TB
	dir       string
	conf, bin string
	config    network.Config
	*network.Network
}

func newWorld(t testing.TB, change func(*network.Config)) *world {
	t.Helper()
	testutil.RequireRoot(t)
	w := &world{t: t, dir: t.TempDir()}
	w.conf, w.bin = filepath.Join(w.dir, "conf"), filepath.Join(w.dir, "bin")
	testutil.Must(t, errors.Join(os.Mkdir(w.conf, 0o755), os.Mkdir(w.bin, 0o755)))
	w.config = network.Config{
		ConfDir: w.conf, BinDirs: []string{w.bin}, CacheDir: filepath.Join(w.dir, "cache"), AgentFiles: []string{filepath.Join(w.dir, "agent")},
		PluginTimeout: 20 * time.Second,
	}
	if change != nil {
		change(&w.config)
	}
	w.restart()
	return w
}

// restart is a new daemon on the state of the old one.
func (w *world) restart() {
	w.t.Helper()
	n, err := network.New(w.config)
	testutil.Must(w.t, err)
	w.t.Cleanup(func() { testutil.Must(w.t, n.Close()) })
	w.Network = n
}

func (w *world) write(name, text string) {
	w.t.Helper()
	testutil.Must(w.t, os.WriteFile(filepath.Join(w.conf, name), []byte(text), 0o600))
}

// plugin makes a plugin of a shell script, which notes its calls; body runs after that.
func (w *world) plugin(name, body string) {
	w.t.Helper()
	const versions = `[ $CNI_COMMAND = VERSION ] && exec echo '{"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}'`
	script := fmt.Sprintf("#!/bin/sh\n%s\necho %s $CNI_COMMAND $CNI_CONTAINERID >> %s\n%s\n", versions, name, w.notes(), body)
	testutil.Must(w.t, os.WriteFile(filepath.Join(w.bin, name), []byte(script), 0o755))
}

func (w *world) notes() string { return filepath.Join(w.dir, "notes") }

func (w *world) calls() []string {
	data, err := os.ReadFile(w.notes())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// status is what keeps pods from being attached.
func (w *world) status() error {
	problem, full := w.Status(w.t.Context())
	return errors.Join(problem, full)
}

const good = `[ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.1.2.3/24","interface":0}]}'`

func list(name string, plugins ...string) string {
	var entries []string
	for _, p := range plugins {
		entries = append(entries, fmt.Sprintf(`{"type":%q}`, p))
	}
	return fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"plugins":[%s]}`, name, strings.Join(entries, ","))
}

func pod(id string) network.Attachment {
	return network.Attachment{PodID: id, Name: "web", Namespace: "default", UID: "u-" + id, Netns: "/proc/self/ns/net"}
}

// buildPlugins compiles berth's own plugins into the folder of a world.
func (w *world) buildPlugins() {
	w.t.Helper()
	for _, p := range []string{"bridge", "host-local"} {
		cmd := exec.CommandContext(w.t.Context(), "go", "build", "-o", filepath.Join(w.bin, p), "github.com/berth-runtime/berth/cni-plugins/"+p)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("build %s: %v\n%s", p, err, out)
		}
	}
}

func TestDefaultNetworkAttachesPodsAndLeavesNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.buildPlugins()
	testutil.Must(t, w.status())
	var wg sync.WaitGroup
	ips := make([]netip.Addr, 8)
	pods := make([]network.Attachment, len(ips))
	for i := range pods {
		pods[i] = pod(fmt.Sprint("pod", i))
		pods[i].Netns = testutil.NewNetNS(t)
		pods[i].Ports = []network.PortMapping{{Protocol: "TCP", HostPort: int32(8000 + i), ContainerPort: 80}, {HostPort: 0, ContainerPort: 81}}
		pods[i].Annotations = map[string]string{"kubernetes.io/ingress-bandwidth": "10M"}
		wg.Go(func() {
			res, err := w.Setup(t.Context(), pods[i])
			if err != nil || len(res.IPs) != 1 {
				t.Errorf("Setup: %v, %v", res, err)
				return
			}
			ips[i] = res.IPs[0]
		})
	}
	wg.Wait()
	slices.SortFunc(ips, netip.Addr.Compare)
	if len(slices.Compact(ips)) != len(pods) || !netip.MustParsePrefix("10.77.0.0/16").Contains(ips[0]) {
		t.Fatalf("addresses %v", ips)
	}
	// A restarted daemon, which no list of pods reached yet, must not lose the network that was chosen, though its range is routed now.
	w.restart()
	if d := w.Describe(t.Context()); d.Problem != "" || len(d.Networks) != 1 || d.Networks[0].Name != "berth" {
		t.Errorf("described as %+v", d)
	}
	for _, p := range pods {
		for range 2 {
			testutil.Must(t, w.Teardown(t.Context(), p))
		}
	}
	testutil.Must(t, w.GC(t.Context(), nil)) // the package's leak check looks for links and tables
}

func TestDefaultNetworkAvoidsRoutedSubnets(t *testing.T) {
	if !testutil.InNamespaces(t, testutil.Net) {
		return
	}
	w := newWorld(t, nil)
	w.buildPlugins()
	if out, err := exec.CommandContext(t.Context(), "ip", "addr", "add", "10.77.3.1/24", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := pod("p1")
	p.Netns = testutil.NewNetNS(t)
	res, err := w.Setup(t.Context(), p)
	testutil.Must(t, err)
	if !netip.MustParsePrefix("10.78.0.0/16").Contains(res.IPs[0]) {
		t.Errorf("address %v", res.IPs)
	}
	testutil.Must(t, errors.Join(w.Teardown(t.Context(), p), w.GC(t.Context(), nil)))
}

func TestPodCIDRIsForTheDefaultNetwork(t *testing.T) {
	w := newWorld(t, nil)
	w.buildPlugins()
	for _, bad := range []string{"", "10.1.0.0", "10.1.0.0/32", "10.1.0.0/24,10.2.0.0/24", "10.1.0.0/24,fd00::/64,fd01::/64"} {
		if err := w.SetPodCIDR(t.Context(), bad); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("SetPodCIDR(%q) = %v", bad, err)
		}
	}
	testutil.Must(t, w.SetPodCIDR(t.Context(), "10.200.1.0/24, fd20::/64"))
	p := pod("p1")
	p.Netns = testutil.NewNetNS(t)
	res, err := w.Setup(t.Context(), p)
	testutil.Must(t, err)
	if got := fmt.Sprint(res.IPs); got != "[10.200.1.2 fd20::2]" {
		t.Errorf("addresses %s", got)
	}
	testutil.Must(t, errors.Join(w.Teardown(t.Context(), p), w.GC(t.Context(), nil)))
}

func TestNoNetwork(t *testing.T) {
	w := newWorld(t, nil)
	w.write("../agent", "")
	err := w.status()
	if !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), w.conf) {
		t.Errorf("with an agent on the node: %v", err)
	}
	if _, setupErr := w.Setup(t.Context(), pod("p1")); !errors.Is(setupErr, errdefs.ErrUnavailable) {
		t.Errorf("Setup: %v", setupErr)
	}
	testutil.Must(t, w.Teardown(t.Context(), pod("p1")))
}

func TestFirstFileIsThePodNetworkAndChangesCountAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.plugin("a", good)
	w.plugin("b", good)
	w.write("20-b.conflist", list("b", "b"))
	w.write("10-a.conf", `{"cniVersion":"1.0.0","name":"a","type":"a"}`)
	w.write("05-note.txt", "no configuration")
	w.write(".05-draft.conflist", "{")
	res, err := w.Setup(t.Context(), pod("p1"))
	testutil.Must(t, err)
	if fmt.Sprint(res.IPs) != "[10.1.2.3]" || len(w.Describe(t.Context()).Networks) != 2 {
		t.Errorf("result %v, %+v", res.IPs, w.Describe(t.Context()))
	}
	// The network of p1 goes away: its Teardown still reaches plugin a.
	testutil.Must(t, os.Remove(filepath.Join(w.conf, "10-a.conf")))
	_, err = w.Setup(t.Context(), pod("p2"))
	testutil.Must(t, errors.Join(err, w.Teardown(t.Context(), pod("p1")), w.Teardown(t.Context(), pod("p2"))))
	if got := w.calls(); !slices.Equal(got, []string{"a ADD p1", "b ADD p2", "a DEL p1", "b DEL p2"}) {
		t.Errorf("calls %v", got)
	}
}

func TestBrokenFirstFileStopsPods(t *testing.T) {
	w := newWorld(t, nil)
	w.plugin("a", good)
	w.write("20-a.conflist", list("a", "a"))
	for name, text := range map[string]string{
		"half of a file":   `{"cniVersion":"1.0.0","name":"x","plu`,
		"no plugins":       `{"cniVersion":"1.0.0","name":"x"}`,
		"no name":          list("", "a"),
		"name with a path": list("../x", "a"),
		"type with a path": list("x", "../a"),
		"future version":   strings.ReplaceAll(list("x", "a"), "1.0.0", "9.0.0"),
	} {
		w.write("10-x.conflist", text)
		status := w.status()
		_, setup := w.Setup(t.Context(), pod("p1"))
		for _, err := range []error{status, setup} {
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "10-x.conflist") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	w.write("10-x.conflist", list("x", "a"))
	if _, err := w.Setup(t.Context(), pod("p1")); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

func TestMissingPluginIsNamed(t *testing.T) {
	w := newWorld(t, nil)
	w.write("10-x.conflist", list("x", "nowhere"))
	if err := w.status(); err == nil || !strings.Contains(err.Error(), "nowhere") || !strings.Contains(err.Error(), w.bin) {
		t.Errorf("Status: %v", err)
	}
}

func TestFailedSetupIsUndone(t *testing.T) {
	w := newWorld(t, nil)
	w.plugin("a", good)
	w.plugin("b", `[ $CNI_COMMAND != ADD ] || { echo broken pipe wrench >&2; echo '{"code":11,"msg":"no tools"}'; exit 1; }`)
	w.write("10-x.conflist", list("x", "a", "b"))
	_, err := w.Setup(t.Context(), pod("p1"))
	var failed *network.PluginError
	if !errors.As(err, &failed) || failed.Plugin != "b" || failed.Stage != "ADD" || !strings.Contains(err.Error(), "no tools") || !strings.Contains(err.Error(), "pipe wrench") {
		t.Errorf("got %v", err)
	}
	if got := w.calls(); !slices.Equal(got, []string{"a ADD p1", "b ADD p1", "b DEL p1", "a DEL p1"}) {
		t.Errorf("calls %v", got)
	}
}

func TestHangingPluginIsKilledWithItsChildren(t *testing.T) {
	w := newWorld(t, func(c *network.Config) { c.PluginTimeout = 300 * time.Millisecond })
	w.plugin("a", `[ $CNI_COMMAND != ADD ] || { sleep 1000 & echo $! > `+w.dir+`/child; wait; }`)
	w.write("10-x.conflist", list("x", "a"))
	_, err := w.Setup(t.Context(), pod("p1"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "plugin a, ADD") {
		t.Errorf("got %v", err)
	}
	var child int
	data, err := os.ReadFile(w.dir + "/child")
	testutil.Must(t, err)
	if _, err := fmt.Sscan(string(data), &child); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the plugin's child lives: %s", stat)
	}
}

func TestGCFinishesWhatAKilledDaemonLeft(t *testing.T) {
	w := newWorld(t, nil)
	w.plugin("a", good)
	w.write("10-x.conflist", list("x", "a"))
	for _, id := range []string{"known", "lost"} {
		_, err := w.Setup(t.Context(), pod(id))
		testutil.Must(t, err)
	}
	testutil.Must(t, w.GC(t.Context(), nil)) // they are alive, whatever the list says
	w.restart()
	_, err := w.Setup(t.Context(), pod("new"))
	testutil.Must(t, errors.Join(err, w.GC(t.Context(), []string{"known"})))
	want := []string{"a ADD known", "a ADD lost", "a ADD new", "a DEL lost"}
	if got := w.calls(); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
}

// A record that was cut short must not keep the pod from being removed.
func TestTeardownWithABrokenRecord(t *testing.T) {
	w := newWorld(t, nil)
	w.plugin("a", good)
	w.write("10-x.conflist", list("x", "a"))
	_, err := w.Setup(t.Context(), pod("p1"))
	testutil.Must(t, err)
	testutil.Must(t, os.Truncate(filepath.Join(w.config.CacheDir, "attachments", "p1.json"), 20))
	testutil.Must(t, w.Teardown(t.Context(), pod("p1")))
	if got := w.calls(); !slices.Equal(got, []string{"a ADD p1", "a DEL p1"}) {
		t.Errorf("calls %v", got)
	}
}

func TestNeedsThatNoPluginServesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.plugin("a", good)
	w.write("10-x.conflist", list("x", "a"))
	p := pod("p1")
	p.Ports = []network.PortMapping{{HostPort: 80, ContainerPort: 80}}
	if _, err := w.Setup(t.Context(), p); !errors.Is(err, errdefs.ErrNotSupported) {
		t.Errorf("got %v", err)
	}
	for name, bad := range map[string]network.Attachment{
		"id with a path":     {PodID: "../x"},
		"name with an '='":   {PodID: "p1", Name: "a;K8S_POD_UID=1"},
		"protocol":           {PodID: "p1", Ports: []network.PortMapping{{HostPort: 1, ContainerPort: 1, Protocol: "icmp"}}},
		"port":               {PodID: "p1", Ports: []network.PortMapping{{HostPort: 70000, ContainerPort: 1}}},
		"host IP":            {PodID: "p1", Ports: []network.PortMapping{{HostPort: 1, ContainerPort: 1, HostIP: "x"}}},
		"bandwidth":          {PodID: "p1", Annotations: map[string]string{"kubernetes.io/egress-bandwidth": "fast"}},
		"bandwidth too much": {PodID: "p1", Annotations: map[string]string{"kubernetes.io/egress-bandwidth": "2P"}},
	} {
		if _, err := w.Setup(t.Context(), bad); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(w.calls()) != 1 || w.calls()[0] != "" {
		t.Errorf("calls %v", w.calls())
	}
}

func TestPluginsInheritNoDescriptors(t *testing.T) {
	w := newWorld(t, nil)
	w.plugin("a", `ls -l /proc/self/fd >> `+w.notes()+"\n"+good)
	w.write("10-x.conflist", list("x", "a"))
	secret := filepath.Join(w.dir, "secret")
	fd, err := syscall.Open(secret, syscall.O_CREAT|syscall.O_RDWR, 0o600) // without O_CLOEXEC, as somebody's library might
	testutil.Must(t, err)
	defer func() { testutil.Must(t, syscall.Close(fd)) }()
	_, err = w.Setup(t.Context(), pod("p1"))
	testutil.Must(t, err)
	data, err := os.ReadFile(w.notes())
	if err != nil || strings.Contains(string(data), secret) || !strings.Contains(string(data), " 0 -> ") {
		t.Errorf("the plugin saw %s, %v", data, err)
	}
}

func TestGCWaitsForSetups(t *testing.T) {
	w := newWorld(t, nil)
	gate := filepath.Join(w.dir, "gate")
	testutil.Must(t, syscall.Mkfifo(gate, 0o600))
	w.plugin("a", `[ $CNI_COMMAND != ADD ] || { read x < `+gate+"; }\n"+good)
	w.write("10-x.conflist", list("x", "a"))
	done := make(chan error, 1)
	go func() { _, err := w.Setup(t.Context(), pod("p1")); done <- err }()
	f, err := os.OpenFile(gate, os.O_WRONLY, 0) // returns when the plugin reads: the Setup is under way
	testutil.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.GC(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("GC while a Setup runs: %v", err)
	}
	_, err = f.WriteString("go\n")
	testutil.Must(t, errors.Join(err, f.Close(), <-done, w.GC(t.Context(), nil)))
}
