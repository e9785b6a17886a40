package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// build compiles plugins into a folder that goes with the test.
func build(t *testing.T, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range packages {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, filepath.Base(pkg)), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	return dir
}

func TestBerth(t *testing.T) {
	testutil.RequireRoot(t)
	const ours = "github.com/berth-runtime/berth/cni-plugins/"
	dir, err := filepath.Abs("../../bin/cni") // for machines without a compiler, such as that of test/vm
	testutil.Must(t, err)
	if _, err := exec.LookPath("go"); err == nil {
		dir = build(t, ours+"bridge", ours+"host-local", ours+"static", ours+"loopback", ours+"portmap", ours+"tuning", ours+"bandwidth", ours+"firewall")
	}
	for _, c := range allCases() {
		t.Run(c.name, func(t *testing.T) {
			err := c.run(dir)
			if what, skip := errors.AsType[lacking](err); skip {
				t.Skip("SKIP-REASON: " + what.Error())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUpstream runs the cases on the plugins of the CNI project, built by upstream.sh, and compares with upstream.txt: so
// the suite is known to judge plugins and not only ours.
func TestUpstream(t *testing.T) {
	testutil.RequireRoot(t)
	dir := os.Getenv("BERTH_CNI_UPSTREAM")
	if dir == "" {
		t.Skip("BERTH_CNI_UPSTREAM, the folder that upstream.sh filled, is not set")
	}
	expected, err := os.ReadFile("upstream.txt")
	if err != nil {
		t.Fatal(err)
	}
	fails := map[string]bool{}
	for line := range strings.Lines(string(expected)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			fails[line] = true
		}
	}
	passed := 0
	for _, c := range allCases() {
		err := c.run(dir)
		_, skip := errors.AsType[lacking](err)
		switch {
		case skip:
		case err == nil && fails[c.name]:
			t.Errorf("%s: passes, but stands in upstream.txt", c.name)
		case err != nil && !fails[c.name]:
			t.Errorf("%s: fails, but does not stand in upstream.txt: %v", c.name, err)
		}
		if err == nil {
			passed++
		}
	}
	t.Logf("the CNI project's plugins pass %d of %d cases", passed, len(allCases()))
}
