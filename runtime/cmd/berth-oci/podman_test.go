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

// shares returns the CPU shares of the test's only container, as cgroup v1 or v2 spells them.
func (p *place) shares() string {
	p.t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/cpu" + testutil.CgroupRoot() + "/*/cpu.shares", "/sys/fs/cgroup" + testutil.CgroupRoot() + "/*/cpu.weight"} {
		list, err := filepath.Glob(pattern)
		testutil.Must(p.t, err)
		if len(list) == 1 {
			data, err := os.ReadFile(list[0])
			testutil.Must(p.t, err)
			return strings.TrimSpace(string(data))
		}
	}
	p.t.Fatal("there is no control group with CPU shares")
	return ""
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
	run(0, "a terminal", "exec", "-t", "x", "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo a terminal")
	run(0, "", "update", "--cpu-shares", "512", "x")
	if got := p.shares(); got != "512" && got != "59" {
		t.Errorf("CPU shares after the update: %s", got)
	}
	run(0, "sleep", "top", "x")
	run(0, "x", "pause", "x")
	run(0, "aused", "ps", "-a", "--format", "{{.Status}}")
	run(0, "x", "unpause", "x")
	run(0, "x", "kill", "x")
	run(0, "137", "wait", "x")
	run(0, "x", "rm", "-f", "x")
}
