package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// podChange changes the configuration of a pod.
type podChange func(*cri.PodSandboxConfig)

// publish adds a published port.
func publish(protocol cri.Protocol, hostIP string, hostPort, containerPort int32) podChange {
	return func(c *cri.PodSandboxConfig) {
		c.PortMappings = append(c.PortMappings, &cri.PortMapping{Protocol: protocol, HostIp: hostIP, HostPort: hostPort, ContainerPort: containerPort})
	}
}

// wantPage fetches a page until it holds the text; servers take a moment to listen.
func wantPage(t *testing.T, from, url, text string) {
	t.Helper()
	err := node.Eventually(t.Context(), 10*time.Second, func() error {
		body, err := get(dialFrom(t, from), url)
		if err == nil && !strings.Contains(body, text) {
			err = fmt.Errorf("%s: %q does not hold %q", url, body, text)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPodAnswersOverHTTP is the way from a registry to an HTTP answer.
func TestPodAnswersOverHTTP(t *testing.T) {
	f := setup(t, node.Options{})
	world := outside(t)
	p := f.pod(t, "web", publish(cri.Protocol_TCP, "", 18080, 80), publish(cri.Protocol_UDP, "", 18081, 80), publish(cri.Protocol_TCP, nodeAddress, 18082, 80))
	run(t, p, "web", web)
	ip, err := p.IP(t.Context())
	testutil.Must(t, err)

	wantPage(t, "", "http://"+ip+"/a", "Hello from web")
	wantPage(t, "", "http://127.0.0.1:18080/b", "asked for /b")
	wantPage(t, "", "http://"+nodeAddress+":18080/", "Hello from web")
	wantPage(t, world, "http://"+nodeAddress+":18080/", "Hello from web")
	wantPage(t, world, "http://"+nodeAddress+":18082/", "Hello from web")
	if body, err := get(dialFrom(t, ""), "http://127.0.0.1:18082/"); err == nil {
		t.Errorf("a port published on %s alone answers on 127.0.0.1: %q", nodeAddress, body)
	}
	for _, c := range []struct{ from, address string }{{"", ip + ":80"}, {"", "127.0.0.1:18081"}, {world, nodeAddress + ":18081"}} {
		err := node.Eventually(t.Context(), 10*time.Second, func() error {
			answer, err := udp(t, c.from, c.address, "ping")
			if err == nil && answer != "web: ping" {
				err = fmt.Errorf("udp %s answers %q", c.address, answer)
			}
			return err
		})
		if err != nil {
			t.Errorf("udp to %s: %v", c.address, err)
		}
	}
}

// TestPodsReachEachOtherAndTheWorld wants pods to see each other's addresses, and the world to see the node's.
func TestPodsReachEachOtherAndTheWorld(t *testing.T) {
	f := setup(t, node.Options{})
	world := outside(t)
	seen := serveAddresses(t, world)

	a, b := f.pod(t, "a"), f.pod(t, "b", publish(cri.Protocol_TCP, "", 18083, 80))
	server := run(t, b, "web", web)
	client := run(t, a, "client", busybox, "sleep", "1000")
	ipA, err := a.IP(t.Context())
	testutil.Must(t, err)
	ipB, err := b.IP(t.Context())
	testutil.Must(t, err)
	wantPage(t, "", "http://"+ipB+"/", "Hello")

	if out := exec(t, client, "wget", "-q", "-O-", "http://"+ipB+"/"); !strings.Contains(out, "You are "+ipA+":") {
		t.Errorf("from pod to pod the source is not the pod's address %s: %q", ipA, out)
	}
	exec(t, client, "wget", "-q", "-O-", "http://"+outsideAddress+":8000/")
	if from := <-seen; from != nodeAddress {
		t.Errorf("the world sees %s, want the node's address %s", from, nodeAddress)
	}
	if out := exec(t, client, "wget", "-q", "-O-", "http://"+nodeAddress+":18083/"); !strings.Contains(out, "Hello from b") {
		t.Errorf("a pod can't reach a published port of the node: %q", out)
	}
	if out := exec(t, server, "wget", "-q", "-O-", "http://"+nodeAddress+":18083/"); !strings.Contains(out, "Hello from b") {
		t.Errorf("a pod can't reach itself through its published port: %q", out)
	}
}

// serveAddresses listens in a network namespace and sends the address of every client.
func serveAddresses(t *testing.T, path string) <-chan string {
	t.Helper()
	var l net.Listener
	testutil.InNetNS(t, path, func() (err error) {
		l, err = net.Listen("tcp", outsideAddress+":8000")
		return err
	})
	seen := make(chan string, 16)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = err.Error()
		}
		seen <- host
		fmt.Fprintln(w, "world")
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { testutil.Must(t, server.Close()); <-done })
	return seen
}

// TestHostNetwork wants a pod of the host's network to see the host's links and to need no address of its own.
func TestHostNetwork(t *testing.T) {
	f := setup(t, node.Options{})
	outside(t)
	p := f.pod(t, "host", func(c *cri.PodSandboxConfig) {
		c.Hostname = ""
		c.Linux.SecurityContext = &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER}}
	})
	c, err := p.Run(t.Context(), hostNetwork(node.ContainerConfig("c", busybox, "sleep", "1000")))
	testutil.Must(t, err)
	if out := exec(t, c, "ip", "addr"); !strings.Contains(out, "uplink") || !strings.Contains(out, nodeAddress) {
		t.Errorf("the host's link is not there:\n%s", out)
	}
}

func hostNetwork(c *cri.ContainerConfig) *cri.ContainerConfig {
	c.Linux.SecurityContext = &cri.LinuxContainerSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER}}
	return c
}

// TestPortIsFreeAgain wants a removed pod's port to lead to the next pod that publishes it, at once.
func TestPortIsFreeAgain(t *testing.T) {
	f := setup(t, node.Options{})
	for _, name := range []string{"one", "two", "three"} {
		p := f.pod(t, name, publish(cri.Protocol_TCP, "", 18084, 80))
		run(t, p, "web", web)
		wantPage(t, "", "http://127.0.0.1:18084/", "Hello from "+name)
		testutil.Must(t, p.Remove(t.Context()))
	}
}

// Others flush the node's firewall: a reload of firewalld, a script of nft's. Pods must be reachable again without being restarted.
func TestFirewallRulesComeBack(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "web", publish(cri.Protocol_TCP, "", 18084, 80))
	run(t, p, "web", web)
	page := func() { wantPage(t, "", "http://127.0.0.1:18084/", "Hello from web") }
	page()
	firewall, err := nftables.New()
	testutil.Must(t, err)

	firewall.FlushRuleset()
	testutil.Must(t, firewall.Flush())
	page()

	// What berthd can't see, as nobody deleted the table: asked for.
	firewall.FlushTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyINet})
	testutil.Must(t, firewall.Flush())
	if body, err := get(dialFrom(t, ""), "http://127.0.0.1:18084/"); err == nil {
		t.Fatalf("without any rules the port answers: %q", body)
	}
	if out, err := f.berth(t, "net", "repair").CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("berth net repair: %v, %q", err, out)
	}
	page()

	// While berthd was away.
	testutil.Must(t, f.Node.Stop())
	firewall.FlushRuleset()
	testutil.Must(t, firewall.Flush())
	testutil.Must(t, f.Node.Start(t.Context()))
	page()
}
