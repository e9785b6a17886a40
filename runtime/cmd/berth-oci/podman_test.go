package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
)

// podman calls podman with berth-oci as its runtime and all of its folders below one of the test's.
func (p *place) podman(dir string, args ...string) result {
	p.t.Helper()
	cmd := exec.Command("podman", append([]string{
		"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", p.binary,
	}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	return p.finish(cmd)
}

func TestPodman(t *testing.T) {
	p := newPlace(t)
	testutil.RequireTool(t, "podman")
	testutil.RequireTool(t, "conmon")
	dir := t.TempDir()
	run := func(code int, output string, args ...string) {
		t.Helper()
		if r := p.podman(dir, args...); r.code != code || !strings.Contains(r.stdout+r.stderr, output) {
			t.Errorf("podman %v: %+v; want code %d and %q", args, r, code, output)
		}
	}
	flags := []string{"--network", "none", "--cgroups", "no-conmon", "--cgroup-parent", testutil.CgroupRoot(), "-v", "/usr:/usr:ro"}
	box := func(head []string, command ...string) []string {
		return append(append(append(head, flags...), "--rootfs", filepath.Join(p.bundle, "rootfs")), command...)
	}
	run(0, "hello", box([]string{"run", "--rm"}, "echo", "hello")...)
	run(5, "", box([]string{"run", "--rm"}, "sh", "-c", "exit 5")...)
	run(127, "nosuch", box([]string{"run", "--rm"}, "nosuch")...)
	run(0, "", box([]string{"run", "-d", "--name", "x"}, "sleep", "1000")...)
	run(0, "inside", "exec", "x", "echo", "inside")
	run(4, "", "exec", "x", "sh", "-c", "exit 4")
	run(0, "sleep", "top", "x")
	run(0, "x", "pause", "x")
	run(0, "aused", "ps", "-a", "--format", "{{.Status}}")
	run(0, "x", "unpause", "x")
	run(0, "x", "kill", "x")
	run(0, "137", "wait", "x")
	run(0, "x", "rm", "-f", "x")
}
