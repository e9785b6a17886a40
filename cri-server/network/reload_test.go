package network_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/internal/testutil"
)

// conflist is that of berth's own plugins, on a bridge and with addresses of its own, and what else stands in the chain.
func conflist(dir, bridge, subnet, more string) string {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","plugins":[
		{"type":"bridge","bridge":%q,"isGateway":true,"ipam":{"type":"host-local","subnet":%q,"dataDir":%q}}%s]}`, bridge, subnet, filepath.Join(dir, bridge), more)
}

// TestAFullPoolIsNoProblem wants STATUS to tell a network that is out of addresses from one that is broken, also behind it.
func TestAFullPoolIsNoProblem(t *testing.T) {
	w := newWorld(t, nil)
	w.buildPlugins()
	w.write("10-net.conflist", conflist(w.dir, "br0", "10.9.0.0/30", ""))
	if problem, full := w.Status(t.Context()); problem != nil || full != nil {
		t.Fatalf("before: %v, %v", problem, full)
	}
	p := pod("p1")
	p.Netns = testutil.NewNetNS(t)
	_, err := w.Setup(t.Context(), p)
	testutil.Must(t, err)
	problem, full := w.Status(t.Context())
	if problem != nil || full == nil || !strings.Contains(full.Error(), "all of [10.9.0.1-10.9.0.2] are taken") {
		t.Errorf("with no address left: %v, %v", problem, full)
	}
	w.plugin("broken", `[ $CNI_COMMAND != STATUS ] || { echo '{"cniVersion":"1.1.0","code":50,"msg":"the cable is cut"}'; exit 1; }`)
	w.write("10-net.conflist", conflist(w.dir, "br0", "10.9.0.0/30", `,{"type":"broken"}`))
	problem, full = w.Status(t.Context())
	if problem == nil || !strings.Contains(problem.Error(), "the cable is cut") || full == nil {
		t.Errorf("with a broken plugin behind: %v, %v", problem, full)
	}
	testutil.Must(t, w.Teardown(t.Context(), p))
	testutil.Must(t, w.GC(t.Context(), nil))
}

// TestAChangedNetwork changes the file of a network while pods are attached: the next pod gets the new one, the others are torn down
// and collected with what they were set up with.
func TestAChangedNetwork(t *testing.T) {
	w := newWorld(t, nil)
	w.buildPlugins()
	attach := func(id string) (network.Attachment, string) {
		p := pod(id)
		p.Netns = testutil.NewNetNS(t)
		res, err := w.Setup(t.Context(), p)
		testutil.Must(t, err)
		return p, fmt.Sprint(res.IPs)
	}
	w.write("10-net.conflist", conflist(w.dir, "br0", "10.9.0.0/24", ""))
	old, oldIP := attach("old")
	_, lostIP := attach("lost")
	w.write("10-net.conflist", conflist(w.dir, "br1", "10.8.0.0/24", ""))
	fresh, freshIP := attach("fresh")
	if got := oldIP + lostIP + freshIP; got != "[10.9.0.2][10.9.0.3][10.8.0.2]" {
		t.Fatalf("addresses %s", got)
	}
	// Nobody but the plugins knows of one pod any more.
	testutil.Must(t, os.Remove(filepath.Join(w.config.CacheDir, "attachments", "lost.json")))
	testutil.Must(t, os.RemoveAll(filepath.Join(w.config.CacheDir, "results")))
	w.restart()
	testutil.Must(t, w.GC(t.Context(), []string{"old", "fresh"}))
	data, err := os.ReadFile(filepath.Join(w.dir, "br0", "net", "allocations"))
	testutil.Must(t, err)
	if lines := string(data); !strings.Contains(lines, "\nfree 10.9.0.3 lost ") || !strings.Contains(lines, "\n10.9.0.2 old ") {
		t.Errorf("GC did not reach the former network, or freed what is in use: %q", lines)
	}
	testutil.Must(t, w.Teardown(t.Context(), old))
	if data, err = os.ReadFile(filepath.Join(w.dir, "br0", "net", "allocations")); err != nil || !strings.Contains(string(data), "\nfree 10.9.0.2 old ") {
		t.Errorf("the address of the former network is not free, %v", err)
	}
	// Without any file there is no network, and the last pod still goes.
	testutil.Must(t, os.Remove(filepath.Join(w.conf, "10-net.conflist")))
	testutil.Must(t, w.Teardown(t.Context(), fresh))
	for bridge, subnet := range map[string]string{"br0": "10.9.0.0/24", "br1": "10.8.0.0/24"} {
		w.write("10-net.conflist", conflist(w.dir, bridge, subnet, ""))
		testutil.Must(t, w.GC(t.Context(), nil)) // takes the bridge away; the package's leak check looks for it
	}
}

// TestPodCIDRForAConfiguredNetwork gives the kubelet's subnets to a network that asks for ranges.
func TestPodCIDRForAConfiguredNetwork(t *testing.T) {
	w := newWorld(t, nil)
	w.buildPlugins()
	w.write("10-net.conflist", fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","plugins":[
		{"type":"bridge","bridge":"br0","isGateway":true,"capabilities":{"ipRanges":true},"ipam":{"type":"host-local","dataDir":%q}}]}`, w.dir))
	testutil.Must(t, w.status())
	p := pod("p1")
	p.Netns = testutil.NewNetNS(t)
	if _, err := w.Setup(t.Context(), p); err == nil || !strings.Contains(err.Error(), "ipRanges") {
		t.Errorf("without a subnet: %v", err)
	}
	testutil.Must(t, w.SetPodCIDR(t.Context(), "10.200.2.0/24,fd22::/64"))
	res, err := w.Setup(t.Context(), p)
	testutil.Must(t, err)
	if got := fmt.Sprint(res.IPs); got != "[10.200.2.2 fd22::2]" {
		t.Errorf("addresses %s", got)
	}
	testutil.Must(t, w.Teardown(t.Context(), p))
	testutil.Must(t, w.GC(t.Context(), nil))
}
