package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// hostMounts makes the container one without a mount namespace.
func (p *place) hostMounts() {
	p.spec.Linux.Namespaces = slices.DeleteFunc(p.spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.MountNamespace
	})
}

func mountTable(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	testutil.Must(t, err)
	return string(data)
}

// seen tells which mount namespace a shell is in and what of its root it sees.
const seen = "readlink /proc/self/ns/mnt; echo /*; test -c /dev/null && test -d /proc/self && touch /usr/x 2>&1 | grep -o Read-only"

// A container without a mount namespace is in ours, and what it sees is its own, which the host never does.
func TestHostMountNamespace(t *testing.T) {
	p := newPlace(t)
	p.hostMounts()
	at := p.fifo("told")
	p.shell("{ " + seen + "; } >/told; exec sleep 1000")
	p.write()
	before := mountTable(t)
	p.ok("create", "c")
	want(t, "mounts after create", mountTable(t), before)
	p.ok("start", "c")
	data, err := os.ReadFile(at)
	testutil.Must(t, err)
	own, err := os.Readlink("/proc/self/ns/mnt")
	testutil.Must(t, err)
	container := own + "\n/bin /dev /etc /lib /lib64 /proc /sbin /sys /tmp /told /usr\nRead-only\n"
	want(t, "the container", string(data), container)
	want(t, "mounts of a running one", mountTable(t), before)

	want(t, "exec", p.ok("exec", "c", "sh", "-c", seen), container)
	want(t, "exec's folder", p.ok("exec", "--cwd", "/proc", "c", "sh", "-c", "pwd; test -d self && echo there"), "/proc\nthere\n")
	// From another mount namespace the container's is a foreign one, and its root still not that of the namespace.
	other := p.command()
	other.Path, other.Args = "/usr/bin/unshare", append([]string{"unshare", "--mount"}, append(other.Args, "exec", "c", "sh", "-c", seen)...)
	if r := p.finish(other); r.stdout != container {
		t.Errorf("exec from another mount namespace: %+v", r)
	}
	p.ok("delete", "--force", "c")
	want(t, "mounts after all", mountTable(t), before)
}

// chroot(2) twice leads to the top of the tree of mounts, which is the host's root where a runtime has changed the root in
// the host's own.
func TestHostMountNamespaceHasNoWayUp(t *testing.T) {
	p := newPlace(t)
	if _, err := os.Stat("/usr/bin/perl"); err != nil {
		testutil.Skip(t, "no /usr/bin/perl to call chroot(2) with")
	}
	p.hostMounts()
	caps := p.spec.Process.Capabilities
	for _, list := range []*[]string{&caps.Bounding, &caps.Effective, &caps.Permitted} {
		*list = append(*list, "CAP_SYS_CHROOT")
	}
	p.spec.Process.Args = []string{
		"perl", "-e", `chroot("/tmp") or die $!; chdir("..") for 1..50; chroot(".") or die $!; print join(" ", glob("/*")), "\n"`,
	}
	p.write()
	if r := p.call("run", "c"); r.code != 0 || r.stdout != "/bin /dev /etc /lib /lib64 /proc /sbin /sys /tmp /usr\n" {
		t.Errorf("%+v", r)
	}
}

func TestHostMountNamespaceWithHooks(t *testing.T) {
	p := newPlace(t)
	p.hostMounts()
	before := mountTable(t)
	inside := p.hook("startContainer", "{ "+seen+"; } >/seen")
	inside.Args[2] = strings.ReplaceAll(inside.Args[2], p.bundle+"/log", "/log")
	p.spec.Hooks = &specs.Hooks{
		CreateRuntime:   []specs.Hook{p.hook("createRuntime", "true")},
		CreateContainer: []specs.Hook{p.hook("createContainer", "test -e rootfs/proc/self && mount --bind /usr rootfs/tmp")},
		StartContainer:  []specs.Hook{inside},
	}
	p.shell("test -e /tmp/bin/sh && echo mounted by the hook")
	p.write()
	r := p.call("run", "c")
	want(t, "the container", r.stdout+r.stderr, "mounted by the hook\n")
	want(t, "mounts after all", mountTable(t), before)
	data, err := os.ReadFile(filepath.Join(p.bundle, "rootfs", "seen"))
	testutil.Must(t, err)
	if !strings.Contains(string(data), "/proc /sbin") || strings.Contains(string(data), "/root") {
		t.Errorf("the startContainer hook saw %s", data)
	}
}

func TestHostMountNamespaceIsRefused(t *testing.T) {
	p := newPlace(t)
	p.hostMounts()
	p.shell("true")
	p.spec.Linux.RootfsPropagation = "unbindable"
	p.write()
	p.fails(1, "linux.rootfsPropagation: unbindable needs a mount namespace", "run", "c")
	p.spec.Linux.RootfsPropagation = ""
	p.spec.Mounts = append(p.spec.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/usr", Options: []string{"unbindable"}})
	p.write()
	p.fails(1, "option unbindable needs a mount namespace", "run", "c")
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
	p.spec.Linux.Namespaces = append(p.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	p.spec.Linux.UIDMappings, p.spec.Linux.GIDMappings = ids, ids
	p.write()
	p.fails(1, "linux.namespaces: a container with a user namespace needs a mount namespace", "run", "c")
}
