package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// hook returns one that appends its name, the state's status, the number of its mount namespace and what it sees.
func (p *place) hook(kind, more string) specs.Hook {
	script := fmt.Sprintf(`state=$(cat); status=${state##*\"status\":\"}; echo "%s ${status%%%%\"*} $(readlink /proc/self/ns/uts) $PWD" >>%s; %s`,
		kind, p.bundle+"/log", more)
	return specs.Hook{Path: "/usr/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

func (p *place) logLines() (list []string) {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.bundle, "log"))
	testutil.Must(p.t, err)
	return lines(string(data))
}

func TestHooksRunInOrder(t *testing.T) {
	p := newPlace(t)
	inside := p.hook("startContainer", "true")
	inside.Args[2] = strings.ReplaceAll(inside.Args[2], p.bundle+"/log", "/log")
	p.spec.Hooks = &specs.Hooks{
		//lint:ignore SA1019 old bundles use the deprecated field
		Prestart:        []specs.Hook{p.hook("prestart", "true")},
		CreateRuntime:   []specs.Hook{p.hook("createRuntime", "true")},
		CreateContainer: []specs.Hook{p.hook("createContainer", "test -e rootfs/proc/self && echo made >rootfs/made")},
		StartContainer:  []specs.Hook{inside},
		Poststart:       []specs.Hook{p.hook("poststart", "exit 1")}, // a warning
		Poststop:        []specs.Hook{p.hook("poststop", "true")},
	}
	p.shell("cat /made; readlink /proc/self/ns/uts; ls /proc/1/fd | wc -l")
	p.write()
	p.ok("create", "c")
	p.ok("start", "c")
	p.ok("delete", "--force", "c")
	own, err := os.Readlink("/proc/self/ns/uts")
	testutil.Must(t, err)
	var got []string
	for _, l := range p.logLines() {
		f := strings.Fields(l)
		where := "host"
		if f[2] != own {
			where = "inside"
		}
		got = append(got, strings.TrimSpace(strings.Join([]string{f[0], f[1], where, strings.TrimPrefix(f[3], p.bundle)}, " ")))
	}
	want(t, "hooks", strings.Join(got, "\n"), strings.TrimSpace(`
prestart creating host
createRuntime creating host
createContainer creating inside
poststart running host
poststop stopped host`))
	data, err := os.ReadFile(filepath.Join(p.bundle, "rootfs", "log"))
	testutil.Must(t, err)
	if f := strings.Fields(string(data)); len(f) < 3 || f[0] != "startContainer" || f[1] != "created" || f[2] == own {
		t.Errorf("startContainer: %s", data)
	}
}

func TestFailingHooksUndoCreate(t *testing.T) {
	for kind, set := range map[string]func(*specs.Hooks, specs.Hook){
		"createRuntime":   func(h *specs.Hooks, hook specs.Hook) { h.CreateRuntime = []specs.Hook{hook} },
		"createContainer": func(h *specs.Hooks, hook specs.Hook) { h.CreateContainer = []specs.Hook{hook} },
	} {
		t.Run(kind, func(t *testing.T) {
			p := newPlace(t)
			p.shell("true")
			p.spec.Hooks = &specs.Hooks{Poststop: []specs.Hook{p.hook("poststop", "true")}}
			set(p.spec.Hooks, p.hook(kind, "exit 9"))
			p.write()
			p.fails(1, "hooks."+kind+"[0]", "create", "c")
			p.fails(1, "does not exist", "state", "c")
			if got := p.logLines(); len(got) != 2 || !strings.HasPrefix(got[1], "poststop stopped") {
				t.Errorf("hooks %q", got)
			}
		})
	}
}

func TestFailingStartContainerHookStopsIt(t *testing.T) {
	p := newPlace(t)
	p.shell("echo ran >/ran")
	p.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/usr/bin/false"}}}
	p.write()
	p.ok("create", "c")
	p.fails(1, "hooks.startContainer[0] /usr/bin/false: exit status 1", "start", "c")
	want(t, "status", p.status("c"), "stopped")
	if _, err := os.Stat(filepath.Join(p.bundle, "rootfs", "ran")); err == nil {
		t.Error("the process ran")
	}
}

func TestHookTimeout(t *testing.T) {
	p := newPlace(t)
	one := 1
	p.shell("true")
	p.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/usr/bin/sleep", Args: []string{"sleep", "1000"}, Timeout: &one}}}
	p.write()
	p.fails(1, "killed after its timeout of 1 s", "create", "c")
}

// A timeout that a time.Duration can't hold is none, and not one that is over at once.
func TestHookTimeoutOfAges(t *testing.T) {
	p := newPlace(t)
	ages := 1 << 62
	p.shell("true")
	p.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/usr/bin/true", Timeout: &ages}}}
	p.write()
	p.ok("create", "c")
}

// What a hook says is in the error, if it is not too long, wherever the hook runs.
func TestHookOutputIsInTheError(t *testing.T) {
	talks := specs.Hook{Path: "/usr/bin/sh", Args: []string{"sh", "-c", "echo because >&2; head -c 1000000 /dev/zero | tr '\\0' x; exit 3"}, Env: []string{"PATH=/usr/bin"}}
	for kind, hooks := range map[string]specs.Hooks{
		"createRuntime":   {CreateRuntime: []specs.Hook{talks}},
		"createContainer": {CreateContainer: []specs.Hook{talks}},
		"startContainer":  {StartContainer: []specs.Hook{talks}},
	} {
		t.Run(kind, func(t *testing.T) {
			p := newPlace(t)
			p.shell("true")
			p.spec.Hooks = &hooks
			p.write()
			r := p.call("run", "c")
			if r.code != 1 || !strings.Contains(r.stderr, "exit status 3: because") || len(r.stderr) > 10_000 {
				t.Errorf("code %d, %d bytes: %.1000s", r.code, len(r.stderr), r.stderr)
			}
		})
	}
}

// A hook may leave a program behind that has its output open.
func TestHookLeavesAProgram(t *testing.T) {
	p := newPlace(t)
	path := p.bundle + "/left"
	p.shell("true")
	p.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{
		Path: "/usr/bin/sh", Args: []string{"sh", "-c", "sleep 1000 & echo $! >" + path}, Env: []string{"PATH=/usr/bin"},
	}}}
	p.write()
	p.ok("create", "c")
	data, err := os.ReadFile(path)
	testutil.Must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	testutil.Must(t, err)
	testutil.Must(t, syscall.Kill(pid, syscall.SIGKILL))
}

// The state that hooks get is the spec's.
func TestHookState(t *testing.T) {
	p := newPlace(t)
	p.spec.Annotations = map[string]string{"k": "v"}
	p.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/usr/bin/tee", Args: []string{"tee", p.bundle + "/state"}}}}
	p.shell("true")
	p.write()
	p.ok("create", "c")
	data, err := os.ReadFile(p.bundle + "/state")
	testutil.Must(t, err)
	var s specs.State
	testutil.Must(t, json.Unmarshal(data, &s))
	if s.ID != "c" || s.Status != specs.StateCreating || s.Pid <= 1 || s.Bundle != p.bundle || s.Annotations["k"] != "v" || s.Version == "" {
		t.Errorf("%+v", s)
	}
}

// Hooks and the container's process get all signals, the usual timer slack and no variable of ours, though run has had its own
// since before its Go runtime started.
func TestNobodyInheritsOwnSettings(t *testing.T) {
	p := newPlace(t)
	files := func(to string) []string { // a shell would unblock the signals
		return []string{"cp", "/proc/self/status", "/proc/self/timerslack_ns", "/proc/self/environ", to}
	}
	hook := func(to string) []specs.Hook {
		return []specs.Hook{{Path: "/usr/bin/cp", Args: files(to), Env: []string{"HOOK=yes"}}}
	}
	p.spec.Hooks = &specs.Hooks{
		CreateRuntime: hook(p.bundle + "/rootfs/host"), CreateContainer: hook("rootfs/namespaces"), StartContainer: hook("/inside"),
	}
	p.spec.Process.Args = files("/process")
	dirs := []string{"host", "namespaces", "inside", "process"}
	for _, dir := range dirs {
		testutil.Must(t, os.Mkdir(filepath.Join(p.bundle, "rootfs", dir), 0o755))
	}
	p.write()
	p.ok("run", "c")
	for _, dir := range dirs {
		read := func(file string) string {
			data, err := os.ReadFile(filepath.Join(p.bundle, "rootfs", dir, file))
			testutil.Must(t, err)
			return string(data)
		}
		_, blocked, _ := strings.Cut(read("status"), "SigBlk:")
		want(t, dir+": blocked signals", strings.Trim(strings.Fields(blocked)[0], "0"), "")
		want(t, dir+": timer slack", strings.TrimSpace(read("timerslack_ns")), "50000")
		if env := read("environ"); strings.Contains(env, "GOMAXPROCS") {
			t.Errorf("%s: environment %q", dir, env)
		}
	}
}
