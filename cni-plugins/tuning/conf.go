package main

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// defaultDataDir is on a file system that a reboot empties, as the namespaces are gone then.
const defaultDataDir = "/run/berth/cni/tuning"

// config is a checked configuration. The keys are those of the plugin of the same name by the CNI project.
type config struct {
	Want    values
	DataDir string
}

type wireConfig struct {
	wireValues
	DataDir       string `json:"dataDir"`
	RuntimeConfig struct {
		MAC string `json:"mac"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI wireValues `json:"cni"`
	} `json:"args"`
}

type wireValues struct {
	Sysctls  sysctls `json:"sysctl"`
	MAC      string  `json:"mac"`
	MTU      *int    `json:"mtu"`
	Promisc  *bool   `json:"promisc"`
	AllMulti *bool   `json:"allmulti"`
	TxQLen   *int    `json:"txQLen"`
}

const (
	mtuMax    = 1 << 20 // more than any link of Linux takes; the kernel knows each one's limits
	txQLenMax = 1<<31 - 1
)

// parseConfig decodes and checks a configuration, and the address that CNI_ARGS ask for. It is pure.
func parseConfig(c plugin.Config, args map[string]string, ifName string) (config, error) {
	var w wireConfig
	if err := json.Unmarshal(c.Raw, &w); err != nil {
		return config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the tuning configuration: %w", err))
	}
	if w.DataDir != "" && !filepath.IsAbs(w.DataDir) {
		return config{}, errdefs.Invalid("dataDir %q is not an absolute path", w.DataDir)
	}
	w.override(w.Args.CNI)
	for _, mac := range []string{args["MAC"], w.RuntimeConfig.MAC, w.Args.CNI.MAC} { // the last one counts, as with the CNI project's
		if mac != "" {
			w.MAC = mac
		}
	}
	mac, err := parseMAC(w.MAC)
	if err != nil {
		return config{}, err
	}
	conf := config{DataDir: dataDirOf(c.Raw), Want: values{MAC: mac, AllMulti: w.AllMulti, TxQLen: w.TxQLen, Sysctls: w.Sysctls}}
	if w.MTU != nil {
		conf.Want.MTU = *w.MTU
	}
	if w.Promisc != nil && *w.Promisc {
		conf.Want.Promisc = w.Promisc // false means that it is left alone
	}
	return conf, conf.Want.check(ifName)
}

// dataDirOf reads only where the records are, for DEL and GC, which must work whatever else is configured. A folder that ADD refuses holds none;
// the usual one is as good then.
func dataDirOf(data []byte) string {
	var w struct {
		DataDir string `json:"dataDir"`
	}
	if err := json.Unmarshal(data, &w); err != nil || !filepath.IsAbs(w.DataDir) {
		return defaultDataDir
	}
	return w.DataDir
}

// override takes what args of the container say instead of what the network says.
func (w *wireValues) override(o wireValues) {
	for _, s := range o.Sysctls {
		w.Sysctls = w.Sysctls.with(s)
	}
	if o.MTU != nil {
		w.MTU = o.MTU
	}
	if o.Promisc != nil {
		w.Promisc = o.Promisc
	}
	if o.AllMulti != nil {
		w.AllMulti = o.AllMulti
	}
	if o.TxQLen != nil {
		w.TxQLen = o.TxQLen
	}
}

// check refuses values that can't be meant.
func (v values) check(ifName string) error {
	switch {
	case v.MTU < 0 || v.MTU > mtuMax:
		return errdefs.Invalid("mtu %d is not between 0 and %d", v.MTU, mtuMax)
	case v.TxQLen != nil && (*v.TxQLen < 0 || *v.TxQLen > txQLenMax):
		return errdefs.Invalid("txQLen %d is not between 0 and %d", *v.TxQLen, txQLenMax)
	case len(v.Sysctls) > sysctlsMax:
		return errdefs.Invalid("sysctl: %d are given, at most %d are taken", len(v.Sysctls), sysctlsMax)
	}
	for _, s := range v.Sysctls {
		if _, err := sysctl.ParseKey(s.Key, ifName); err != nil {
			return err
		}
		if len(s.Value) > sysctlValueMax || strings.ContainsAny(s.Value, "\x00\n") {
			return errdefs.Invalid("sysctl %s: the value must be one line of at most %d bytes", s.Key, sysctlValueMax)
		}
	}
	return nil
}

// parseMAC brings a hardware address into the form that the kernel gives it.
func parseMAC(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || [6]byte(mac) == [6]byte{} {
		return "", errdefs.Invalid("mac %.80q is no Ethernet unicast address", text)
	}
	return mac.String(), nil
}
