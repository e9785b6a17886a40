package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// The whole chain as others configure it. cnitool passes capability arguments in CAP_ARGS, podman by itself.
func (e *env) chain() object {
	return object{"cniVersion": "1.0.0", "name": "net", "plugins": []any{
		with(e.bridge(), object{"cniVersion": nil, "name": nil, "ipam": with(e.ipam(), object{"routes": []any{object{"dst": "0.0.0.0/0"}}})}),
		object{"type": "portmap", "capabilities": object{"portMappings": true}},
		object{"type": "firewall", "ingressPolicy": "same-bridge"},
		object{"type": "tuning", "sysctl": object{"net.core.somaxconn": "500"}},
		object{"type": "bandwidth", "capabilities": object{"bandwidth": true}},
	}}
}

// inWorld runs a test in a world of its own, on berth's plugins, with the chain in a folder of configurations.
func inWorld(t *testing.T, version string, f func(e *env, confDir string) error) {
	t.Helper()
	testutil.RequireRoot(t)
	plugins := ours(t)
	for _, dir := range []string{"/run", "/var/lib"} { // where these tools leave things; in the mount namespace of the tests
		testutil.Must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, ""))
		defer func() { testutil.Must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }()
	}
	c := testCase{t.Name(), func(e *env) error {
		dir := filepath.Join(e.dir, "net.d")
		data, err := json.Marshal(with(e.chain(), object{"cniVersion": version}))
		if err != nil {
			return err
		}
		testutil.Must(t, os.Mkdir(dir, 0o755))
		testutil.Must(t, os.WriteFile(filepath.Join(dir, "10-net.conflist"), data, 0o644))
		return f(e, dir)
	}}
	testutil.Must(t, c.run(plugins))
}

// TestCnitool drives the chain with the CNI project's own tool. (Its gc says nothing of attachments that are valid, which berth's
// plugins refuse to take for "none".)
func TestCnitool(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		testutil.Skip(t, "no Go here to build cnitool with")
	}
	tool := filepath.Join(build(t, "github.com/containernetworking/cni/cnitool"), "cnitool")
	inWorld(t, "1.1.0", func(e *env, confDir string) error {
		c, err := e.container("c1")
		if err != nil {
			return err
		}
		run := func(verb string) error {
			cmd := exec.Command(tool, verb, "net", c.path)
			cmd.Env = append(os.Environ(), "NETCONFPATH="+confDir, "CNI_PATH="+e.plugins,
				`CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],"bandwidth":{"ingressRate":8000000,"ingressBurst":800000}}`)
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			if err := e.host.Do(cmd.Run); err != nil {
				return fmt.Errorf("cnitool %s: %w: %s%s", verb, err, out.Bytes(), errOut.Bytes())
			}
			return nil
		}
		for _, step := range []func() error{
			func() error { return run("status") },
			func() error { return run("add") },
			func() error { return e.serve(c.ns, 80) },
			func() error { _, err := ask(e.host, "tcp", "127.0.0.1:8080"); return err },
			func() error { return run("check") },
			func() error { return run("del") },
			func() error { return refused(e.host, "tcp", "127.0.0.1:8080") },
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestPodman runs a container on berth's plugins with podman, whose backend for CNI is asked for.
func TestPodman(t *testing.T) {
	for _, name := range []string{"podman", "conmon", "runc"} {
		testutil.RequireTool(t, name)
	}
	busybox, err := filepath.Abs("../../build/cache/busybox")
	testutil.Must(t, err)
	if _, err := os.Stat(busybox); err != nil {
		testutil.Skip(t, "no busybox for the container: make images builds it")
	}
	const locks = "/dev/shm/libpod_lock"
	if _, err := os.Lstat(locks); errors.Is(err, fs.ErrNotExist) { // else somebody else has podman here
		t.Cleanup(func() {
			if _, err := os.Lstat(locks); err == nil {
				t.Errorf("%s is left", locks)
			}
		})
	}
	inWorld(t, "1.0.0", func(e *env, confDir string) error {
		rootfs := filepath.Join(e.dir, "rootfs")
		testutil.Must(t, os.MkdirAll(filepath.Join(rootfs, "bin"), 0o755))
		data, err := os.ReadFile(busybox)
		testutil.Must(t, err)
		testutil.Must(t, os.WriteFile(filepath.Join(rootfs, "bin", "busybox"), data, 0o755))
		testutil.Must(t, os.WriteFile(filepath.Join(rootfs, "hello"), []byte("from podman"), 0o644))
		conf := filepath.Join(e.dir, "containers.conf")
		text := fmt.Sprintf("[network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [%q]\nnetwork_config_dir = %q\n[engine]\nlock_type = \"file\"\n", e.plugins, confDir) // else its locks stay in /dev/shm
		testutil.Must(t, os.WriteFile(conf, []byte(text), 0o644))
		podman := func(args ...string) (string, error) {
			cmd := exec.Command("podman", append([]string{
				"--root", e.dir + "/root", "--runroot", e.dir + "/run", "--tmpdir", e.dir + "/tmp", "--storage-driver", "vfs",
				"--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc",
			}, args...)...)
			cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+conf, "TMPDIR="+e.dir, "HOME="+e.dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := e.host.Do(cmd.Run); err != nil {
				return "", fmt.Errorf("podman %v: %w: %s", args, err, out.String())
			}
			return out.String(), nil
		}
		_, err = podman("run", "-d", "--name", "web", "--network", "net", "-p", "8080:80", "--ulimit", "nofile=512:512", "--ulimit", "nproc=512:512", "--cgroups", "no-conmon", "--cgroup-parent", testutil.CgroupRoot(),
			"--rootfs", rootfs, "/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/")
		if err != nil {
			return err
		}
		seen, err := fetch(e.host, "127.0.0.1:8080", "/hello")
		if err == nil && !strings.Contains(seen, "from podman") {
			err = fmt.Errorf("the published port answers %q", seen)
		}
		if err != nil {
			return err
		}
		if _, err := podman("rm", "-f", "-t", "0", "web"); err != nil {
			return err
		}
		return errors.Join(refused(e.host, "tcp", "127.0.0.1:8080"), removeCgroups())
	})
}

// removeCgroups removes the parent that podman made, in each hierarchy.
func removeCgroups() error {
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + testutil.CgroupRoot())
	for _, g := range append(groups, "/sys/fs/cgroup"+testutil.CgroupRoot()) {
		if removeErr := os.Remove(g); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}

// fetch asks a web server for a page, from a namespace. It waits for the server to listen.
func fetch(from *netns.Handle, target, path string) (page string, err error) {
	deadline := time.Now().Add(answerTime)
	for {
		err = from.Do(func() error {
			c, err := net.DialTimeout("tcp", target, answerTime)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
				return err
			}
			data, err := io.ReadAll(c)
			page = string(data)
			return err
		})
		if err == nil && page != "" || time.Now().After(deadline) {
			return page, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
