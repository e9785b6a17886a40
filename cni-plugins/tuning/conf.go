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
	w, err := decode(c.Raw)
	if err != nil {
		return config{}, err
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
	conf := config{DataDir: w.DataDir, Want: values{MAC: mac, AllMulti: w.AllMulti, TxQLen: w.TxQLen, Sysctls: w.Sysctls}}
	if w.MTU != nil {
		conf.Want.MTU = *w.MTU
	}
	if w.Promisc != nil && *w.Promisc {
		conf.Want.Promisc = w.Promisc // false means that it is left alone
	}
	return conf, conf.Want.check(ifName)
}

// decode reads the configuration as far as DEL needs it, which does not care whether the rest makes sense.
func decode(data []byte) (wireConfig, error) {
	w := wireConfig{DataDir: defaultDataDir}
	if err := json.Unmarshal(data, &w); err != nil {
		return wireConfig{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the tuning configuration: %w", err))
	}
	if w.DataDir == "" {
		w.DataDir = defaultDataDir
	}
	if !filepath.IsAbs(w.DataDir) {
		return wireConfig{}, errdefs.Invalid("dataDir %q is not an absolute path", w.DataDir)
	}
	return w, nil
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
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return "", errdefs.Invalid("mac %.80q is no Ethernet unicast address", text)
	}
	return mac.String(), nil
}
