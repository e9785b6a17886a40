package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/systemd"
	"github.com/berth-runtime/berth/test/fakesystemd"
)

// fakeManager puts a fake systemd where the real one listens. It makes the groups that it is asked for.
func fakeManager(t *testing.T) *fakesystemd.Server {
	t.Helper()
	host, err := cgroup.Detect()
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, host.Close()) })
	s := fakesystemd.Start(t)
	path := func(name string, props map[string]any) string {
		slice, _ := props["Slice"].(string)
		return systemd.Unit{Slice: slice, Name: name}.Path()
	}
	s.OnStart = func(name string, props map[string]any) error {
		g, err := host.Ensure(context.Background(), path(name, props))
		if err != nil {
			return err
		}
		pids, _ := props["PIDs"].([]uint32)
		return join(g, strconv.Itoa(int(pids[0])))
	}
	s.OnStop = func(name string) {
		g, err := host.Open(path(name, s.Unit(name)))
		testutil.Must(t, err)
		testutil.Must(t, errors.Join(g.Kill(context.Background()), g.Remove(context.Background())))
	}
	testutil.Must(t, syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	t.Cleanup(func() { testutil.Must(t, syscall.Unmount("/run", syscall.MNT_DETACH)) })
	testutil.Must(t, os.MkdirAll("/run/systemd", 0o755))
	testutil.Must(t, os.Symlink(s.Socket, systemd.PrivateSocket))
	return s
}

// join moves a process into a group as a manager would.
func join(g *cgroup.Group, pid string) error {
	files, err := g.JoinFiles()
	if err != nil {
		return err
	}
	for _, f := range files {
		_, err := f.WriteString(pid)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	dir, err := g.Dir()
	if err != nil || dir == nil {
		return err
	}
	return errors.Join(os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/cgroup.procs", dir.Fd()), []byte(pid), 0), dir.Close())
}

// TestSystemd has a scope made, changed and ended with a container; no later command needs to be told.
func TestSystemd(t *testing.T) {
	p := newPlace(t)
	s := fakeManager(t)
	slice := strings.ReplaceAll(strings.TrimPrefix(testutil.CgroupRoot(), "/"), "-", "") + ".slice"
	p.spec.Linux.CgroupsPath = slice + ":box:c"
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.write()
	t.Cleanup(func() {
		host, err := cgroup.Detect()
		testutil.Must(t, err)
		g, err := host.Open("/" + slice)
		testutil.Must(t, err)
		testutil.Must(t, errors.Join(g.Remove(context.Background()), host.Close()))
	})
	p.ok("--systemd-cgroup", "create", "c")
	if got := s.Unit("box-c.scope")["Slice"]; got != slice {
		t.Errorf("slice %v, want %s; calls: %v", got, slice, s.Calls())
	}
	if got := p.ok("ps", "--format", "json", "c"); strings.Contains(got, ",") {
		t.Errorf("processes of the scope: %q, want the container's alone", got)
	}
	p.ok("start", "c")
	p.ok("update", "--pids-limit", "77", "c")
	if got := s.Unit("box-c.scope")["TasksMax"]; got != uint64(77) {
		t.Errorf("TasksMax of the scope: %v", got)
	}
	if got := p.ok("exec", "c", "cat", "/proc/self/cgroup"); strings.Contains(got, "..") || !strings.Contains(got, ":/\n") {
		t.Errorf("an exec is in %s", got)
	}
	p.ok("delete", "--force", "c")
	if s.Unit("box-c.scope") != nil {
		t.Error("the scope is left")
	}
	p.spec.Linux.CgroupsPath = testutil.CgroupRoot() + "/c"
	p.write()
	p.fails(1, "linux.cgroupsPath: ", "--systemd-cgroup", "run", "c")
}
