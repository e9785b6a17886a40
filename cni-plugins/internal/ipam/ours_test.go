package ipam

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// A program with the right name, in the right folder, is not ours unless it was built from our source.
func TestForeignProgramsAreNotOurs(t *testing.T) {
	self, err := os.Executable()
	testutil.Must(t, err)
	dir := t.TempDir()
	script := filepath.Join(dir, "host-local")
	testutil.Must(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	sh, err := exec.LookPath("sh")
	testutil.Must(t, err)
	for _, path := range []string{script, sh, self, "/no/such/file"} {
		if isOurs(path, "host-local") {
			t.Errorf("%s counts as ours", path)
		}
	}
}

func TestOpenRefusesNamesThatAreNoPlugins(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/b", "x\x00"} {
		r := &plugin.Request{Config: plugin.Config{IPAMType: name}}
		if _, err := Open(r); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	r := &plugin.Request{Config: plugin.Config{IPAMType: "nowhere"}, Path: []string{t.TempDir()}}
	if _, err := Open(r); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("a missing plugin: %v", err)
	}
}

func TestErrorsSayOnceWhatTheyAreAbout(t *testing.T) {
	for text, want := range map[string]string{
		"no space": "ipam: no space", "ipam: subnet x": "ipam: subnet x", "their-ipam, ADD: ipam: subnet x": "their-ipam, ADD: ipam: subnet x",
	} {
		if got := wrap(errors.New(text)); got.Error() != want {
			t.Errorf("%q became %q", text, got)
		}
	}
	if err := wrap(nil); err != nil {
		t.Error(err)
	}
}

func TestOutputOfDelegatesIsBounded(t *testing.T) {
	dir := t.TempDir()
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "endless"), []byte("#!/bin/sh\nexec head -c 16777216 /dev/zero\n"), 0o755))
	r := &plugin.Request{Config: plugin.Config{CNIVersion: "1.1.0", IPAMType: "endless", Raw: []byte("{}")}, Path: []string{dir}, Stderr: io.Discard}
	p, err := Open(r)
	testutil.Must(t, err)
	if _, err := p.Add(r); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
}
