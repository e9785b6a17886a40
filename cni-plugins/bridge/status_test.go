package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/internal/testutil"
)

// STATUS of a plugin that may not use nftables is code 50 with the reason: no ADD could work. The plugin is this test, run again without
// CAP_NET_ADMIN; with it, STATUS comes as far as the ipam plugin, which is nowhere.
func TestStatusWithoutNftables(t *testing.T) {
	if os.Getenv("CNI_COMMAND") == "STATUS" {
		main()
		return
	}
	testutil.RequireRoot(t)
	setpriv, err := exec.LookPath("setpriv")
	testutil.Must(t, err)
	status := func(bounding string) types.Error {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), setpriv, "--inh-caps="+bounding, "--bounding-set="+bounding, os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = []string{"CNI_COMMAND=STATUS", "CNI_PATH=" + t.TempDir()}
		cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"net","type":"bridge","ipam":{"type":"host-local"}}`)
		out, err := cmd.Output()
		if !errors.As(err, new(*exec.ExitError)) {
			t.Fatalf("STATUS: %v, %s", err, out)
		}
		var said types.Error
		testutil.Must(t, json.Unmarshal(out, &said))
		return said
	}
	if said := status("-net_admin"); said.Code != types.ErrPluginNotAvailable || !strings.Contains(said.Msg, "nft") || !strings.Contains(said.Msg, "not permitted") {
		t.Errorf("without CAP_NET_ADMIN: %+v", said)
	}
	if said := status("+net_admin"); said.Code != types.ErrPluginNotAvailable || !strings.Contains(said.Msg, "host-local") {
		t.Errorf("with CAP_NET_ADMIN: %+v", said)
	}
}
