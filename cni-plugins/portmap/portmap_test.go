package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestConfig(t *testing.T) {
	for keys, kind := range map[string]error{
		`"snat":true`:                                   nil,
		`"backend":"nftables"`:                          nil,
		`"conditionsV4":[]`:                             nil,
		`"markMasqBit":5`:                               nil,
		`"externalSetMarkChain":"KUBE"`:                 nil,
		`"backend":"ipchains"`:                          errdefs.ErrNotSupported,
		`"masqAll":true`:                                nil,
		`"conditionsV4":["-d","1.1.1.1"]`:               nil,
		`"conditionsV6":["x"]`:                          errdefs.ErrInvalid,
		`"markMasqBit":32`:                              errdefs.ErrInvalid,
		`"markMasqBit":5,"externalSetMarkChain":"KUBE"`: errdefs.ErrInvalid,
		`"autoHostPorts":"1-2"`:                         nil,
		`"autoHostPorts":"auto"`:                        errdefs.ErrInvalid,
		`"dataDir":"relative"`:                          errdefs.ErrInvalid,
		`"snat":"yes"`:                                  errdefs.ErrInvalid,
	} {
		if _, err := parseConfig(plugin.Config{Raw: []byte(`{` + keys + `}`)}); !errors.Is(err, kind) {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

const prev = `"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/x"},{"name":"eth1","sandbox":"/x"}],
	"ips":[{"address":"10.0.0.1/24","interface":0},{"address":"10.0.0.2/24","interface":1},{"address":"10.0.1.2/24","interface":2}]}`

func TestOnlyTheOwnInterfaceIsPublished(t *testing.T) {
	c, err := plugin.ParseConfig("ADD", []byte(`{"cniVersion":"1.1.0","name":"net",`+prev+`}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"eth0": "[10.0.0.2]", "eth1": "[10.0.1.2]", "eth2": "[]"} {
		if got := fmt.Sprint((&plugin.Request{IfName: name, Config: c}).PrevAddrs()); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.1.0","name":"net",` + prev + `,"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80,"protocol":"udp","hostIP":"192.0.2.1"}]}}`))
	f.Add([]byte(`{"cniVersion":"0.2.0","name":"net","prevResult":{"ip4":{"ip":"10.0.0.2/24"}},"runtimeConfig":{"portMappings":[null]},"snat":false}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := plugin.ParseConfig("ADD", data)
		if err != nil || c.Prev == nil {
			return
		}
		conf, err := parseConfig(c)
		if err != nil {
			return
		}
		a, err := buildPlan(conf, &plugin.Request{IfName: "eth0", Config: c})
		for _, p := range a.Ports {
			if err == nil && (p.Host.Port() == 0 || p.Pod.Port() == 0 || p.Host.Addr().Is4() != p.Pod.Addr().Is4()) {
				t.Fatalf("%s to %s", p, p.Pod)
			}
		}
	})
}
