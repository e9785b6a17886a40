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

// ours returns a folder with berth's plugins.
func ours(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil { // as on the machine of test/vm
		dir, err := filepath.Abs("../../bin/cni")
		testutil.Must(t, err)
		return dir
	}
	var packages []string
	for _, name := range knownPlugins() {
		packages = append(packages, "github.com/berth-runtime/berth/cni-plugins/"+name)
	}
	return build(t, packages...)
}

func TestSaw(t *testing.T) {
	if err := saw(nil, "links %v", []string{"a"}); err.Error() != "links [a]" {
		t.Error(err)
	}
	if err := saw(os.ErrNotExist, "links %d", 1); err.Error() != "links 1, file does not exist" || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestBerth(t *testing.T) {
	testutil.RequireRoot(t)
	dir := ours(t)
	for _, c := range allCases() {
		t.Run(c.name, func(t *testing.T) {
			err := c.run(dir)
			if what, skip := errors.AsType[lacking](err); skip {
				testutil.Skip(t, "%v", what)
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
	dir := os.Getenv("BERTH_CNI_UPSTREAM")
	if dir == "" {
		testutil.Skip(t, "BERTH_CNI_UPSTREAM, the folder that upstream.sh filled, is not set")
	}
	compare(t, dir, "upstream.txt")
}

// TestDebian does the same with those that Debian ships, in package containernetworking-plugins.
func TestDebian(t *testing.T) {
	const dir = "/usr/lib/cni"
	if _, err := os.Stat(filepath.Join(dir, "bridge")); err != nil {
		testutil.Skip(t, "Debian's containernetworking-plugins are not installed")
	}
	compare(t, dir, "debian.txt")
}

// maxStrays is how many cases plugins that are not ours may fail beyond their list: they wait for the kernel by the clock.
const maxStrays = 5

// compare wants a folder's plugins to fail the cases that a file lists, and hardly any other.
func compare(t *testing.T, dir, list string) {
	t.Helper()
	testutil.RequireRoot(t)
	expected, err := os.ReadFile(list)
	testutil.Must(t, err)
	fails, either := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(expected)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			name, chance := strings.CutPrefix(line, "? ")
			fails[name], either[name] = !chance, chance
		}
	}
	passed, strays := 0, 0
	for _, c := range allCases() {
		err := c.run(dir)
		_, skip := errors.AsType[lacking](err)
		switch {
		case skip, either[c.name]:
		case err == nil && fails[c.name]:
			t.Errorf("%s: passes, but stands in %s", c.name, list)
		case err != nil && !fails[c.name]:
			strays++
			t.Logf("%s: fails, but does not stand in %s: %v", c.name, list, err)
		}
		if err == nil {
			passed++
		}
	}
	t.Logf("the plugins in %s pass %d of %d cases", dir, passed, len(allCases()))
	if strays > maxStrays {
		t.Errorf("%d cases fail that do not stand in %s: what is wrong is the suite", strays, list)
	}
}
