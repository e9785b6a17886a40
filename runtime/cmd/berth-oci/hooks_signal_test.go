package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// endless returns a hook that tells its number in our PID namespace, through a FIFO, and never ends.
func endless(at string) []specs.Hook {
	return []specs.Hook{{Path: "/usr/bin/sh", Args: []string{
		"sh", "-c", `while read -r name n _; do test "$name" = NSpid: && echo $n >` + at + `; done </proc/self/status; exec sleep 1000`,
	}}}
}

// interrupt sends a signal to a call as soon as its hook runs, and waits for the end of the hook and of the call.
func (p *place) interrupt(cmd *exec.Cmd, at string, n syscall.Signal) (code int, output string) {
	p.t.Helper()
	out, err := os.Create(filepath.Join(p.bundle, "stderr")) // a file: what is left running keeps it
	testutil.Must(p.t, err)
	defer out.Close()
	cmd.Stderr = out
	testutil.Must(p.t, cmd.Start())
	data, err := os.ReadFile(at)
	testutil.Must(p.t, err)
	hook, err := strconv.Atoi(strings.TrimSpace(string(data)))
	testutil.Must(p.t, err)
	testutil.Must(p.t, cmd.Process.Signal(n))
	awaitProcess(p.t, hook)
	_ = cmd.Wait() // the code tells
	text, err := os.ReadFile(out.Name())
	testutil.Must(p.t, err)
	return cmd.ProcessState.ExitCode(), string(text)
}

// A signal that asks berth-oci to end while a hook runs that has no time limit kills the hook, and the container is undone.
func TestSignalsEndHooks(t *testing.T) {
	for kind, set := range map[string]func(*specs.Hooks, []specs.Hook){
		"createRuntime":   func(h *specs.Hooks, list []specs.Hook) { h.CreateRuntime = list },
		"createContainer": func(h *specs.Hooks, list []specs.Hook) { h.CreateContainer = list },
		"startContainer":  func(h *specs.Hooks, list []specs.Hook) { h.StartContainer = list },
	} {
		t.Run(kind, func(t *testing.T) {
			p := newPlace(t)
			at := p.fifo("at")
			p.shell("echo ran >/ran")
			// In a PID namespace of its own the container's hook would tell the number there.
			p.spec.Linux.Namespaces = p.spec.Linux.Namespaces[1:]
			p.spec.Hooks = &specs.Hooks{Poststop: []specs.Hook{p.hook("poststop", "true")}}
			told := at
			if kind == "startContainer" {
				told = "/at"
			}
			set(p.spec.Hooks, endless(told))
			p.write()
			for i, n := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
				args := [][]string{{"run", "c"}, {"create", "c"}, {"run", "-d", "c"}, {"start", "c"}}[i]
				if kind != "startContainer" && args[0] == "start" {
					args = []string{"create", "c"}
				}
				if kind == "startContainer" && (args[0] == "start" || args[0] == "create") {
					p.ok("create", "c")
					args = []string{"start", "c"}
				}
				code, output := p.interrupt(p.command(args...), at, n)
				if code != 1 || !strings.Contains(output, "hooks."+kind+"[0]") || !strings.Contains(output, "it was killed: "+n.String()) {
					t.Errorf("%v with %v: code %d: %s", args, n, code, output)
				}
				if args[0] == "start" {
					want(t, "status", p.status("c"), "stopped")
					p.ok("delete", "c")
				}
				want(t, "list", p.ok("list", "-q"), "")
			}
			if _, err := os.Stat(filepath.Join(p.bundle, "rootfs", "ran")); err == nil {
				t.Error("the process ran")
			}
			for _, l := range p.logLines() {
				if !strings.HasPrefix(l, "poststop stopped") {
					t.Errorf("hook %q", l)
				}
			}
		})
	}
}

// What comes after a hook that may fail goes on when the hook is killed.
func TestSignalsEndHooksThatMayFail(t *testing.T) {
	p := newPlace(t)
	at := p.fifo("at")
	p.shell(`trap "exit 5" TERM; sleep 1000 & while :; do wait; done`)
	p.spec.Hooks = &specs.Hooks{Poststart: append(endless(at), p.hook("poststart", "true"))}
	p.write()
	code, output := p.interrupt(p.command("run", "-d", "c"), at, syscall.SIGTERM)
	if code != 0 || !strings.Contains(output, "level=warning") {
		t.Errorf("run -d: code %d: %s", code, output)
	}
	want(t, "status", p.status("c"), "running")
	if got := p.logLines(); len(got) != 1 {
		t.Errorf("hooks %q", got)
	}
	p.ok("delete", "--force", "c")

	p.spec.Hooks = &specs.Hooks{Poststop: endless(at)}
	p.write()
	p.ok("create", "c")
	code, output = p.interrupt(p.command("delete", "--force", "c"), at, syscall.SIGINT)
	if code != 0 || !strings.Contains(output, "level=warning") {
		t.Errorf("delete: code %d: %s", code, output)
	}
	want(t, "list", p.ok("list", "-q"), "")
}
