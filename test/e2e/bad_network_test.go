package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// network writes a CNI configuration, and plugins that are shell scripts, before the node starts. Addresses are kept in a folder of the
// test, not in the one of the machine.
func network(t *testing.T, conflist string, plugins map[string]string) *fixture {
	t.Helper()
	testutil.RequireRoot(t)
	bin := t.TempDir()
	for name, script := range plugins {
		testutil.Must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	conflist = strings.ReplaceAll(conflist, `"type": "host-local", `, fmt.Sprintf(`"type": "host-local", "dataDir": %q, `, t.TempDir()))
	f := prepare(t, node.Options{Plugins: bin})
	testutil.Must(t, os.WriteFile(filepath.Join(f.Dir, "net.d", "10-test.conflist"), []byte(conflist), 0o644))
	f.start(t)
	t.Cleanup(func() { f.finish(t) })
	return f
}

const failingChain = `{"cniVersion": "1.1.0", "name": "n", "plugins": [
  {"type": "bridge", "bridge": "berth0", "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]}},
  {"type": "bad"}
]}`

func TestBrokenConflist(t *testing.T) {
	f := network(t, `{"cniVersion": "1.1.0", "name": "n", "plugins": [`, nil)
	_, err := f.tryPod(t, "p")
	wantError(t, err, anyCode, "10-test.conflist")
	s, err := f.Status(t.Context(), &cri.StatusRequest{})
	testutil.Must(t, err)
	for _, c := range s.GetStatus().GetConditions() {
		if c.GetType() == "NetworkReady" && (c.GetStatus() || c.GetMessage() == "") {
			t.Errorf("a broken network is reported as %v, %q", c.GetStatus(), c.GetMessage())
		}
	}
	f.wantClean(t)
}

// anyCode allows every code but that of a crash: the text is what counts.
var anyCode = []codes.Code{
	codes.Unknown, codes.InvalidArgument, codes.FailedPrecondition, codes.Unavailable, codes.Internal, codes.NotFound,
	codes.ResourceExhausted, codes.AlreadyExists, codes.DeadlineExceeded,
}

func TestPluginThatFails(t *testing.T) {
	f := network(t, failingChain, map[string]string{"bad": `
case $CNI_COMMAND in
ADD) echo '{"cniVersion": "1.1.0", "code": 123, "msg": "the cable is cut", "details": "by a shark"}'; exit 1;;
VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}';;
esac`})
	_, err := f.tryPod(t, "p")
	wantError(t, err, anyCode, "bad", "the cable is cut", "by a shark")
	f.wantClean(t)
}

func TestPluginThatHangs(t *testing.T) {
	f := network(t, failingChain, map[string]string{"bad": `
case $CNI_COMMAND in
ADD) sh -c 'exec sleep 1000';;
VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}';;
esac`})
	// The caller's deadline passes; the attempt goes on, and the same request joins it and gets its result.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := f.RunPod(ctx, node.PodConfig("p", f.logs))
	wantError(t, err, []codes.Code{codes.DeadlineExceeded})
	_, err = f.tryPod(t, "p")
	wantError(t, err, anyCode, "bad", "killed")
	f.wantClean(t)
}

func TestPluginThatIsMissing(t *testing.T) {
	f := network(t, failingChain, nil)
	_, err := f.tryPod(t, "p")
	wantError(t, err, anyCode, `bad`)
	f.wantClean(t)
}

func TestPoolWithoutAddresses(t *testing.T) {
	f := network(t, `{"cniVersion": "1.1.0", "name": "tiny", "plugins": [
  {"type": "bridge", "bridge": "berth0", "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24", "rangeStart": "10.99.0.10", "rangeEnd": "10.99.0.11"}]]}}
]}`, nil)
	first := f.pod(t, "one")
	f.pod(t, "two")
	for range 3 { // failed attempts must not use anything up
		_, err := f.tryPod(t, "three")
		wantError(t, err, anyCode, "address", "tiny")
	}
	f.wantConditions(t, map[string]bool{"NetworkReady": true, "AddressesAvailable": false}) // a node that is not ready would lose its pods
	testutil.Must(t, first.Remove(t.Context()))
	f.wantConditions(t, map[string]bool{"NetworkReady": true, "AddressesAvailable": true})
	f.pod(t, "three")
}

// wantConditions compares some of the conditions in Status.
func (f *fixture) wantConditions(t *testing.T, want map[string]bool) {
	t.Helper()
	s, err := f.Status(t.Context(), &cri.StatusRequest{})
	testutil.Must(t, err)
	seen := 0
	for _, c := range s.GetStatus().GetConditions() {
		if status, asked := want[c.GetType()]; asked {
			if seen++; c.GetStatus() != status {
				t.Errorf("%s is %v: %s", c.GetType(), c.GetStatus(), c.GetMessage())
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%d of the conditions %v are there", seen, want)
	}
}

func TestTakenHostPort(t *testing.T) {
	f := setup(t, node.Options{})
	first := f.pod(t, "first", publish(cri.Protocol_TCP, "", 18090, 80))
	_, err := f.tryPod(t, "second", publish(cri.Protocol_TCP, "", 18090, 80))
	wantError(t, err, anyCode, "18090")
	f.pod(t, "udp", publish(cri.Protocol_UDP, "", 18090, 80)) // another protocol's port is another port
	testutil.Must(t, first.Remove(t.Context()))
	f.pod(t, "second", publish(cri.Protocol_TCP, "", 18090, 80))
}
