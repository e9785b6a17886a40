package ports

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestSpans(t *testing.T) {
	for span, ok := range map[string]bool{"": true, "1-65535": true, "80-80": true, "0-80": false, "80": false, "80-79": false, "80-65536": false, "a-b": false, "80-90-95": false} {
		if _, err := ParseChooser(span, "/x"); (err == nil) != ok || err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", span, err)
		}
	}
}

// world makes a link to publish for, a firewall and a chooser of a few ports.
func world(t *testing.T, span string) (*nft.Firewall, Chooser) {
	t.Helper()
	testutil.RequireRoot(t)
	if out, err := exec.Command("ip", "link", "add", "brc0", "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := nft.Open()
	testutil.Must(t, err)
	t.Cleanup(func() {
		_, err := f.Collect("net", nil, func(string) bool { return true })
		testutil.Must(t, errors.Join(err, f.Close(), exec.Command("ip", "link", "del", "brc0").Run()))
	})
	c, err := ParseChooser(span, t.TempDir())
	testutil.Must(t, err)
	return f, c
}

func wish(t *testing.T, container string, mappings ...Mapping) nft.Attachment {
	t.Helper()
	plan, err := Plan(mappings, dual, true)
	testutil.Must(t, err)
	return nft.Attachment{Owner: nft.Owner{Network: "net", ContainerID: container, IfName: "eth0"}, Link: "brc0", Ports: plan}
}

func TestChosenPorts(t *testing.T) {
	f, c := world(t, "30000-30004")
	l, err := net.Listen("tcp", "127.0.0.1:30000")
	testutil.Must(t, err)
	defer l.Close()
	used := map[uint16]string{30000: "the listener", 30003: "fixed"}
	if _, err := Publish(f, c, wish(t, "fixed", Mapping{30003, 80, "tcp", "", 0})); err != nil {
		t.Fatal(err)
	}
	all := map[string][]nft.Port{}
	for _, name := range []string{"a", "b", "c"} {
		a := wish(t, name, Mapping{0, 80, "tcp", "", 0})
		got, err := Publish(f, c, a)
		testutil.Must(t, err)
		if len(got) != 2 || got[0].Host.Port() != got[1].Host.Port() {
			t.Fatalf("%s has %v", name, got)
		}
		port := got[0].Host.Port()
		if port < 30000 || port > 30004 || used[port] != "" {
			t.Fatalf("%s has port %d, which %s has", name, port, used[port])
		}
		used[port], all[name] = name, got
		recalled, err := c.Recall(a.Owner, a.Ports)
		if err != nil || fmt.Sprint(recalled) != fmt.Sprint(got) {
			t.Errorf("%s remembers %v, %v", name, recalled, err)
		}
	}
	if _, err := Publish(f, c, wish(t, "d", Mapping{0, 80, "tcp", "", 0})); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("a sixth port of five: %v", err)
	}
	d := wish(t, "d", Mapping{0, 80, "udp", "", 0}, Mapping{0, 81, "udp", "", 0}, Mapping{30002, 82, "udp", "", 0})
	got, err := Publish(f, c, d)
	if err != nil || len(got) != 6 || got[0].Host.Port() == got[2].Host.Port() || got[0].Host.Port() == 30002 || got[2].Host.Port() == 30002 {
		t.Errorf("of another protocol: %v, %v", got, err)
	}

	// Rules that are gone come back with the same ports, in any order.
	for _, name := range []string{"a", "b", "c"} {
		_, err := f.Remove(wish(t, name).Owner)
		testutil.Must(t, err)
	}
	for _, name := range []string{"c", "b", "a"} {
		a := wish(t, name, Mapping{0, 80, "tcp", "", 0})
		a.Ports, err = c.Recall(a.Owner, a.Ports)
		testutil.Must(t, err)
		back, err := Publish(f, c, a)
		if err != nil || fmt.Sprint(back) != fmt.Sprint(all[name]) {
			t.Errorf("%s has %v, had %v, %v", name, back, all[name], err)
		}
	}
	testutil.Must(t, errors.Join(Withdraw(f, c, wish(t, "a").Owner), Withdraw(f, c, wish(t, "a").Owner)))
	if _, err := c.Recall(wish(t, "a").Owner, wish(t, "a", Mapping{0, 80, "tcp", "", 0}).Ports); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("a after its end: %v", err)
	}
	never := func(string) bool { return false }
	testutil.Must(t, Collect(f, c, "net", []plugin.Attachment{{ContainerID: "b", IfName: "eth0"}}, never))
	if left, err := os.ReadDir(filepath.Join(c.Dir, "net")); err != nil || len(left) != 1 || left[0].Name() != "b:eth0.json" {
		t.Errorf("records %v, %v", left, err)
	}
	testutil.Must(t, errors.Join(Collect(f, c, "other", nil, never), Collect(f, c, "net", nil, never)))
	if _, err := os.Stat(filepath.Join(c.Dir, "net")); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
}

// Names that no file can have are no reason to hold up the end of a container.
func TestLongNames(t *testing.T) {
	f, c := world(t, "")
	testutil.Must(t, os.MkdirAll(filepath.Join(c.Dir, "net"), 0o700))
	for _, o := range []nft.Owner{{Network: "net", ContainerID: strings.Repeat("c", 300), IfName: "eth0"}, {Network: strings.Repeat("n", 300), ContainerID: "c", IfName: "eth0"}} {
		testutil.Must(t, errors.Join(Withdraw(f, c, o), Collect(f, c, o.Network, nil, func(string) bool { return false })))
	}
}

func TestDamagedRecord(t *testing.T) {
	c, err := ParseChooser("1-2", t.TempDir())
	testutil.Must(t, err)
	a := wish(t, "a", Mapping{0, 80, "tcp", "", 0})
	path := c.path(a.Owner)
	testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	for _, text := range []string{"", "{", `{"portMappings":[{"hostPort":0,"containerPort":80}]}`} {
		testutil.Must(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := c.Recall(a.Owner, a.Ports); !errors.Is(err, errdefs.ErrDataLoss) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzDecodeChosen(f *testing.F) {
	f.Add([]byte(`{"portMappings":[{"hostPort":80,"containerPort":80,"protocol":"udp","hostIP":"192.0.2.1"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		plan, err := decodeChosen(data)
		for _, p := range plan {
			if err == nil && (open(p) || p.Host.Addr().Is4() != p.Pod.Addr().Is4()) {
				t.Fatalf("%v", p)
			}
		}
	})
}
