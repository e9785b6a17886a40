package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// place is a place to run containers in: a binary, a state folder and a bundle whose root has the host's programs.
type place struct {
	t            *testing.T
	binary, root string
	bundle       string
	spec         *specs.Spec
}

func newPlace(t *testing.T) *place {
	t.Helper()
	testutil.RequireRoot(t)
	if _, err := os.Stat("/usr/bin/sleep"); err != nil {
		testutil.Skip(t, "the root file systems of these tests are made of the host's /usr/bin, which it does not have")
	}
	// On a tmpfs, as the state folder is wherever berth-oci is installed.
	dir := t.TempDir()
	p := &place{t: t, binary: filepath.Join(dir, "berth-oci"), root: filepath.Join(dir, "state"), bundle: filepath.Join(dir, "bundle")}
	p.build("-ldflags=-E=_berth_oci_" + runtime.GOARCH + "_linux")
	for _, name := range []string{"usr", "proc", "dev", "sys", "tmp", "etc"} {
		testutil.Must(t, os.MkdirAll(filepath.Join(p.bundle, "rootfs", name), 0o755))
	}
	for _, name := range []string{"bin", "lib", "lib64", "sbin"} {
		testutil.Must(t, os.Symlink("usr/"+name, filepath.Join(p.bundle, "rootfs", name)))
	}
	p.spec = exampleSpec()
	p.spec.Process.Terminal = false
	p.spec.Root.Readonly = false
	p.spec.Linux.CgroupsPath = testutil.CgroupRoot() + "/" + strings.ReplaceAll(t.Name(), "/", "-")
	p.spec.Mounts = append(p.spec.Mounts, specs.Mount{Destination: "/usr", Type: "bind", Source: "/usr", Options: []string{"rbind", "ro"}})
	t.Cleanup(p.end)
	return p
}

// build makes the binary, as it is installed with the Makefile's flags, and as others build it without. In the virtual machine,
// which has no compiler, it is the installed one.
func (p *place) build(flags ...string) {
	p.t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		data, err := os.ReadFile("../../../bin/berth-oci")
		if err != nil {
			testutil.Skip(p.t, "no Go compiler, and no program made beforehand: %v", err)
		}
		testutil.Must(p.t, os.WriteFile(p.binary, data, 0o755))
		return
	}
	out, err := exec.Command("go", append(append([]string{"build", "-o", p.binary}, flags...), ".")...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("build: %v\n%s", err, out)
	}
}

// end deletes what a test left, and the groups above its containers'.
func (p *place) end() {
	entries, err := os.ReadDir(p.root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Error(err)
	}
	for _, e := range entries {
		if r := p.call("delete", "--force", e.Name()); r.code != 0 {
			p.t.Errorf("delete %s: %s", e.Name(), r.stderr)
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + testutil.CgroupRoot())
	testutil.Must(p.t, err)
	for _, g := range append(groups, "/sys/fs/cgroup"+testutil.CgroupRoot()) {
		if err := os.Remove(g); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.t.Error(err)
		}
	}
}

type result struct {
	code           int
	stdout, stderr string
}

// shell sets the command of the container.
func (p *place) shell(script string) { p.spec.Process.Args = []string{"sh", "-c", script} }

func (p *place) write() {
	p.t.Helper()
	data, err := json.Marshal(p.spec)
	testutil.Must(p.t, err)
	testutil.Must(p.t, os.WriteFile(filepath.Join(p.bundle, "config.json"), data, 0o600))
}

func (p *place) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.binary, append([]string{"--root", p.root}, args...)...)
	cmd.Dir = p.bundle
	return cmd
}

// call runs berth-oci with files for its output: a container that was created keeps them open.
func (p *place) call(args ...string) result {
	p.t.Helper()
	return p.finish(p.command(args...))
}

func (p *place) finish(cmd *exec.Cmd) result {
	p.t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(p.t.TempDir(), "out")
		testutil.Must(p.t, err)
		defer f.Close()
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	r := result{code: cmd.ProcessState.ExitCode()}
	for i, to := range []*string{&r.stdout, &r.stderr} {
		data, err := os.ReadFile(files[i].Name())
		testutil.Must(p.t, err)
		*to = string(data)
	}
	return r
}

// ok is call that must succeed.
func (p *place) ok(args ...string) string {
	p.t.Helper()
	r := p.call(args...)
	if r.code != 0 {
		p.t.Fatalf("%v: code %d: %s", args, r.code, r.stderr)
	}
	return r.stdout
}

// fails is call that must fail, saying something.
func (p *place) fails(code int, text string, args ...string) {
	p.t.Helper()
	r := p.call(args...)
	if r.code != code || !strings.Contains(r.stderr, text) {
		p.t.Errorf("%v: code %d: %s; want %d and %q", args, r.code, r.stderr, code, text)
	}
}

func (p *place) status(id string) string {
	p.t.Helper()
	var s struct{ Status string }
	testutil.Must(p.t, json.Unmarshal([]byte(p.ok("state", id)), &s))
	return s.Status
}

// fifo makes a FIFO in the container's root, to be told on, or to tell.
func (p *place) fifo(name string) string {
	p.t.Helper()
	path := filepath.Join(p.bundle, "rootfs", name)
	testutil.Must(p.t, syscall.Mkfifo(path, 0o666))
	return path
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func jsonLines(t *testing.T, data []byte) (list []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(data) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", line, err))
		}
		list = append(list, m)
	}
	return list
}
