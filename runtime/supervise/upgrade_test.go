package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/supervise"
)

// replace puts a file with other content behind a name, as package managers do.
func replace(t *testing.T, name, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	testutil.Must(t, err)
	testutil.Must(t, os.WriteFile(name+".new", data, 0o755))
	testutil.Must(t, os.Rename(name+".new", name))
}

func runs(t *testing.T, pid int) os.FileInfo {
	t.Helper()
	info, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	testutil.Must(t, err)
	return info
}

// A keeper follows its binary, stays the same process, and stays what it is if the binary is no good.
func TestConnectUpgrades(t *testing.T) {
	binary := build(t)
	c := config(t, binary)
	s := supervise.New(c)
	first, err := s.Connect(t.Context())
	testutil.Must(t, err)
	pid := keepers(t, c)[0]
	old := runs(t, pid)

	replace(t, binary, binary)
	second, err := s.Connect(t.Context())
	testutil.Must(t, err)
	now := runs(t, pid)
	want, err := os.Stat(binary)
	testutil.Must(t, err)
	if os.SameFile(old, now) || !os.SameFile(now, want) {
		t.Error("the keeper runs another file than the configured one")
	}
	testutil.Must(t, second.Close())

	replace(t, binary, binary)
	out, err := exec.CommandContext(t.Context(), binary, "--socket", c.Socket, "--upgrade").CombinedOutput()
	if err != nil || os.SameFile(now, runs(t, pid)) {
		t.Errorf("upgrade by hand: %v, %s", err, out)
	}
	now = runs(t, pid)

	replace(t, binary, "/bin/true")
	third, err := s.Connect(t.Context())
	testutil.Must(t, err)
	if !os.SameFile(now, runs(t, pid)) {
		t.Error("the keeper has become something that is no keeper")
	}
	testutil.Must(t, third.Close())
	if _, err := first.List(t.Context()); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
	testutil.Must(t, first.Close())
	if pids := keepers(t, c); len(pids) != 1 || pids[0] != pid {
		t.Errorf("keepers %v, first was %d", pids, pid)
	}
	end(t, pid)
	testutil.Must(t, s.Close())
}
