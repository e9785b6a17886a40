package main

import (
	"encoding/json"
	"errors"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

var update = flag.Bool("update", false, "write the golden plans anew")

func request(t testing.TB, conf string) *plugin.Request {
	t.Helper()
	c, err := plugin.ParseConfig("ADD", []byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	return &plugin.Request{Command: "ADD", ContainerID: "c1", IfName: "eth0", Netns: "/run/netns/c1", Config: c}
}

func ipamResult(t testing.TB, text string) *current.Result {
	t.Helper()
	if text == "" {
		return nil
	}
	r, err := plugin.ParseResult("1.1.0", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	v4   = `{"ips":[{"address":"10.9.0.2/24","gateway":"10.9.0.1"}]}`
	dual = `{"ips":[{"address":"10.9.0.2/24"},{"address":"fd09::2/64","gateway":"fd09::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.0.0.0/8","gw":"10.9.0.3","mtu":1300}],"dns":{"nameservers":["192.0.2.53"]}}`
)

func TestPlans(t *testing.T) {
	for name, tc := range map[string]struct{ conf, ipam string }{
		"plain":   {`{"cniVersion":"1.1.0","name":"net","ipam":{"type":"x"}}`, v4},
		"gateway": {`{"cniVersion":"1.1.0","name":"net","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"mtu":1400,"ipam":{"type":"x"}}`, dual},
		"l2":      {`{"cniVersion":"1.1.0","name":"net","promiscMode":true,"disableContainerInterface":true,"dns":{"nameservers":["192.0.2.54"]}}`, ""},
		"everything": {`{"cniVersion":"1.1.0","name":"net","isGateway":true,"forceAddress":true,"enabledad":true,"portIsolation":true,"ipam":{"type":"x"},
			"runtimeConfig":{"mac":"02:00:00:00:00:01","portMappings":[{"hostPort":80,"containerPort":8080,"protocol":"tcp"}],
			"bandwidth":{"ingressRate":1000,"ingressBurst":2000},"aliases":{"net":["db"]},"dns":{"servers":["192.0.2.1"],"searches":["a.b"]}}}`, dual},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, tc.conf)
			conf, err := parseConfig(r.Config, r.Args)
			if err != nil {
				t.Fatal(err)
			}
			p, err := buildPlan(conf, r, ipamResult(t, tc.ipam), 9000)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".plan.json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if diff := cmp.Diff(string(want), string(got)+"\n"); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		keys string
		kind error
	}{
		"vlan":              {`"vlan":4095`, errdefs.ErrInvalid},
		"vlan of a gateway": {`"vlan":1000,"bridge":"twelve-lette","isGateway":true`, errdefs.ErrInvalid},
		"trunk, no end":     {`"vlanTrunk":[{"minID":5}]`, errdefs.ErrInvalid},
		"trunk, backwards":  {`"vlanTrunk":[{"minID":6,"maxID":5}]`, errdefs.ErrInvalid},
		"trunk, too high":   {`"vlanTrunk":[{"id":4095}]`, errdefs.ErrInvalid},
		"trunk with vlan":   {`"vlan":6,"vlanTrunk":[{"minID":5,"maxID":7}]`, errdefs.ErrInvalid},
		"isolation":         {`"isolation":"some"`, errdefs.ErrNotSupported},
		"internal, masq":    {`"internal":true,"ipMasq":true`, errdefs.ErrInvalid},
		"internal, ports":   {`"internal":true,"ipam":{"type":"x"},"runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":1}]}`, errdefs.ErrInvalid},
		"backend":           {`"ipMasqBackend":"ipchains"`, errdefs.ErrNotSupported},
		"aliases":           {`"ipam":{"type":"x"},"runtimeConfig":{"aliases":["x y"]}`, errdefs.ErrInvalid},
		"aliases, no ipam":  {`"runtimeConfig":{"aliases":["x"]}`, errdefs.ErrInvalid},
		"data folder":       {`"dataDir":"x"`, errdefs.ErrInvalid},
		"hosts folder":      {`"hostsDir":3`, errdefs.ErrInvalid},
		"deviceID":          {`"runtimeConfig":{"deviceID":"0000:00:01.0"}`, errdefs.ErrNotSupported},
		"bridge name":       {`"bridge":"a/b"`, errdefs.ErrInvalid},
		"long bridge name":  {`"bridge":"sixteen-letters-"`, errdefs.ErrInvalid},
		"mtu":               {`"mtu":-1`, errdefs.ErrInvalid},
		"mtu, too small":    {`"mtu":67`, errdefs.ErrInvalid},
		"no mac":            {`"runtimeConfig":{"mac":"00:00:00:00:00:00"}`, errdefs.ErrInvalid},
		"hairpin, promisc":  {`"hairpinMode":true,"promiscMode":true`, errdefs.ErrInvalid},
		"down with ipam":    {`"disableContainerInterface":true,"ipam":{"type":"x"}`, errdefs.ErrInvalid},
		"ports, no address": {`"runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":1}]}`, errdefs.ErrInvalid},
		"mac":               {`"runtimeConfig":{"mac":"01:00:00:00:00:00"}`, errdefs.ErrInvalid},
		"infiniband mac":    {`"args":{"cni":{"mac":"00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"}}`, errdefs.ErrInvalid},
		"rate":              {`"runtimeConfig":{"bandwidth":{"ingressRate":8000}}`, errdefs.ErrInvalid},
		"burst of 0 ns":     {`"runtimeConfig":{"bandwidth":{"egressRate":100000000000,"egressBurst":8}}`, errdefs.ErrInvalid},
		"wrong type":        {`"mtu":"1500"`, errdefs.ErrInvalid},
	} {
		r := request(t, `{"cniVersion":"1.1.0","name":"net",`+tc.keys+`}`)
		if _, err := parseConfig(r.Config, nil); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := request(t, `{"cniVersion":"1.1.0","name":"net","vlan":0,"vlanTrunk":[],"x-other-tool":{},"ipMasqBackend":"nftables"}`)
	if _, err := parseConfig(r.Config, map[string]string{"MAC": "02:00:00:00:00:01", "K8S_POD_NAME": "x"}); err != nil {
		t.Errorf("harmless keys: %v", err)
	}
}

// What only the addresses and routes show to be wrong is refused before anything is made, too, by the name of the key.
func TestPlanRefusals(t *testing.T) {
	for key, tc := range map[string]struct{ keys, ipam string }{
		"mtu 1279": {`"mtu":1279,`, dual},
		"table -1": {``, `{"ips":[{"address":"10.9.0.2/24"}],"routes":[{"dst":"10.0.0.0/8","table":-1}]}`},
		"scope":    {``, `{"ips":[{"address":"10.9.0.2/24"}],"routes":[{"dst":"10.0.0.0/8","scope":256}]}`},
		"mtu":      {``, `{"ips":[{"address":"10.9.0.2/24"}],"routes":[{"dst":"10.0.0.0/8","mtu":-1}]}`},
		"advmss":   {``, `{"ips":[{"address":"10.9.0.2/24"}],"routes":[{"dst":"10.0.0.0/8","advmss":-1}]}`},
		"priority": {``, `{"ips":[{"address":"10.9.0.2/24"}],"routes":[{"dst":"10.0.0.0/8","priority":-1}]}`},
	} {
		r := request(t, `{"cniVersion":"1.1.0","name":"net",`+tc.keys+`"ipam":{"type":"x"}}`)
		c, err := parseConfig(r.Config, nil)
		testutil.Must(t, err)
		if _, err := buildPlan(c, r, ipamResult(t, tc.ipam), 1500); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	r := request(t, `{"cniVersion":"1.1.0","name":"net","mtu":1279,"ipam":{"type":"x"}}`)
	c, err := parseConfig(r.Config, nil)
	testutil.Must(t, err)
	if _, err := buildPlan(c, r, ipamResult(t, v4), 1500); err != nil {
		t.Errorf("an mtu that is enough for IPv4: %v", err)
	}
}

// Entries of vlanTrunk may have both forms, or none, as the CNI project's plugin takes them.
func TestTrunks(t *testing.T) {
	r := request(t, `{"cniVersion":"1.1.0","name":"net","vlanTrunk":[{"id":5,"minID":7,"maxID":9},{},{"id":4094}]}`)
	c, err := parseConfig(r.Config, nil)
	want := []link.VLANRange{{First: 5, Last: 5}, {First: 7, Last: 9}, {First: 4094, Last: 4094}}
	if diff := cmp.Diff(want, c.VLANs.Trunk); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestPlanRefusesWhatIPAMCantMean(t *testing.T) {
	for name, tc := range map[string]string{
		"no address":       `{}`,
		"gateway family":   `{"ips":[{"address":"10.9.0.2/24","gateway":"fd09::1"}]}`,
		"route over IPv6":  `{"ips":[{"address":"10.9.0.2/24"}],"routes":[{"dst":"10.0.0.0/8","gw":"fd09::1"}]}`,
		"ports, no family": `{"ips":[{"address":"fd09::2/64"}]}`,
	} {
		r := request(t, `{"cniVersion":"1.1.0","name":"net","ipam":{"type":"x"},"runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":1,"hostIP":"192.0.2.1"}]}}`)
		conf, err := parseConfig(r.Config, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := buildPlan(conf, r, ipamResult(t, tc), 0); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.1.0","name":"net","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"ipam":{"type":"x"},"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80}]}}`), []byte(dual))
	f.Add([]byte(`{"cniVersion":"0.3.1","name":"n","runtimeConfig":{"mac":"x","bandwidth":{}}}`), []byte(`{"ips":[{"address":"::ffff:10.0.0.1/120"}],"routes":[{"dst":"::/0"}]}`))
	f.Fuzz(func(t *testing.T, data, ipam []byte) {
		c, err := plugin.ParseConfig("ADD", data)
		if err != nil {
			return
		}
		r := &plugin.Request{ContainerID: "c1", IfName: "eth0", Config: c}
		conf, err := parseConfig(c, nil)
		if err != nil {
			return
		}
		result, err := plugin.ParseResult("1.1.0", ipam)
		if err != nil {
			return
		}
		p, err := buildPlan(conf, r, result, 1500)
		if err == nil && (len(p.Addrs) == 0 || len(p.Result.IPs) != len(p.Addrs) || len(p.Veth.MAC) != 6) {
			t.Fatalf("%+v", p)
		}
	})
}

func TestMergeShiftsIndexes(t *testing.T) {
	prev := &current.Result{
		Interfaces: []*current.Interface{{Name: "a"}, {Name: "b"}}, Routes: []*types.Route{{Dst: net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}}},
	}
	own := &current.Result{
		Interfaces: []*current.Interface{{Name: "c"}}, IPs: []*current.IPConfig{{Interface: new(0)}}, DNS: types.DNS{Domain: "x"},
	}
	got := merge(prev, own)
	if got.Interfaces[*got.IPs[0].Interface].Name != "c" || len(got.Routes) != 1 || got.DNS.Domain != "x" {
		t.Errorf("%+v", got)
	}
}

func TestHardwareAddressesDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, text := range []string{"10.9.0.2", "10.9.0.3", "fd09::2", "fd09::3", "fd0a::2", "fd09:0:0:1::2"} {
		a := netip.MustParseAddr(text)
		mac := deriveMAC(a).String()
		if other, taken := seen[mac]; taken || mac != deriveMAC(a).String() {
			t.Errorf("%s and %s: %s", text, other, mac)
		}
		seen[mac] = text
	}
}
