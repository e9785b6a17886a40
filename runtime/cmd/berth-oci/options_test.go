package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// Sockets of a service that systemd starts on demand get through to the container's process (sd_listen_fds(3)), besides what
// is asked to be preserved. Those that are meant for somebody else do not.
func TestListenFDs(t *testing.T) {
	p := newPlace(t)
	p.shell("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; test ! -e /proc/self/fd/5")
	p.write()
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		testutil.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o600))
	}
	with := func(script string) result {
		t.Helper()
		cmd := p.command()
		cmd.Args = append([]string{"sh", "-c", script + ` exec "$0" "$@" 3<` + dir + "/a 4<" + dir + "/b 5<" + dir + "/c"}, cmd.Args...)
		cmd.Args = append(cmd.Args, "run", "--preserve-fds", "1", "c")
		cmd.Path = "/bin/sh"
		return p.finish(cmd)
	}
	if r := with("export LISTEN_FDS=1 LISTEN_PID=$$;"); r.code != 0 || r.stdout != "1 1\na\nb\n" {
		t.Errorf("%+v", r)
	}
	p.shell("echo $LISTEN_FDS; cat <&3; test ! -e /proc/self/fd/4")
	p.write()
	if r := with("export LISTEN_FDS=1 LISTEN_PID=1;"); r.code != 0 || r.stdout != "\na\n" {
		t.Errorf("of somebody else: %+v", r)
	}
}

// Without pivot_root, which a ramdisk can't do, the container has its own root nevertheless, and mounts none of the host's files.
func TestNoPivot(t *testing.T) {
	p := newPlace(t)
	p.shell("ls -d /only-here && cat /proc/self/mountinfo")
	testutil.Must(t, os.Mkdir(filepath.Join(p.bundle, "rootfs", "only-here"), 0o755))
	p.write()
	out := p.ok("run", "--no-pivot", "c")
	if !strings.HasPrefix(out, "/only-here\n") {
		t.Errorf("output:\n%s", out)
	}
	for _, line := range lines(out)[1:] {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, p.bundle) || strings.HasPrefix(at, "/var") {
			t.Errorf("a mount of the host's: %s", line)
		}
	}
}

// A limit that nothing can have is refused before there is a state folder, or anything that a hook could clean up.
func TestBadLimitsHaveNoEffect(t *testing.T) {
	p := newPlace(t)
	mark := filepath.Join(p.bundle, "poststop")
	p.spec.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/usr/bin/touch", Args: []string{"touch", mark}}}}
	p.spec.Linux.Resources = &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "nonsense-x"}}
	p.write()
	p.fails(1, "create container: linux.resources.cpu.cpus: ", "create", "c")
	for _, path := range []string{mark, p.root} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s exists (%v)", path, err)
		}
	}
}

// What spec --rootless writes runs, once there is a program in its root.
func TestHelp(t *testing.T) {
	p := newPlace(t)
	for _, args := range [][]string{{}, {"help"}, {"--help"}} {
		if out := p.ok(args...); !strings.Contains(out, "--systemd-cgroup") || !strings.Contains(out, "features") {
			t.Errorf("%v: %q", args, out)
		}
	}
	want(t, "help run", p.ok("help", "run"), p.ok("run", "--help"))
	p.fails(1, `no command "fly"`, "help", "fly")
}

func TestSpecRootless(t *testing.T) {
	p := newPlace(t)
	p.ok("spec", "--rootless")
	data, err := os.ReadFile(filepath.Join(p.bundle, "config.json"))
	testutil.Must(t, err)
	usr, group := p.spec.Mounts[len(p.spec.Mounts)-1], p.spec.Linux.CgroupsPath
	*p.spec = specs.Spec{}
	testutil.Must(t, json.Unmarshal(data, p.spec))
	p.spec.Process.Terminal, p.spec.Process.Args = false, []string{"cat", "/proc/self/uid_map"}
	p.spec.Mounts, p.spec.Linux.CgroupsPath = append(p.spec.Mounts, usr), group
	p.write()
	want(t, "mapping", strings.Join(strings.Fields(p.ok("run", "c")), " "), "0 0 1")
}

// What has no effect is said in the log, unless there is an error: podman reads a log of one message only.
func TestDifferencesAreWarnings(t *testing.T) {
	p := newPlace(t)
	p.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/ptmx", Type: "c", Major: 5, Minor: 2}}
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.write()
	warned := func(text string, r result) {
		t.Helper()
		if r.code != 0 || !strings.Contains(r.stderr, "level=warning") || !strings.Contains(r.stderr, text) {
			t.Errorf("%+v, want a warning with %q", r, text)
		}
	}
	warned("linux.devices[0]", p.call("run", "-d", "c"))
	process := *p.spec.Process
	process.Args, process.Capabilities = []string{"true"}, &specs.LinuxCapabilities{
		Bounding: []string{"CAP_KILL"}, Permitted: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"},
	}
	data, err := json.Marshal(process)
	testutil.Must(t, err)
	file := filepath.Join(t.TempDir(), "process.json")
	testutil.Must(t, os.WriteFile(file, data, 0o600))
	warned("process.capabilities.ambient", p.call("exec", "--process", file, "c"))

	p.ok("delete", "--force", "c")
	p.spec.Process.Args = []string{"/no/such"}
	p.write()
	log := filepath.Join(t.TempDir(), "log")
	p.fails(1, "/no/such", "--log", log, "--log-format", "json", "run", "-d", "d")
	data, err = os.ReadFile(log)
	testutil.Must(t, err)
	if messages := jsonLines(t, data); len(messages) != 1 || messages[0]["level"] != "error" {
		t.Errorf("log %s", data)
	}
}
