package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
)

// containerd starts one of the test's own, without CRI, and returns how ctr calls it. It is ready when it says so.
func (p *place) containerd(dir string) func(args ...string) result {
	p.t.Helper()
	address := filepath.Join(dir, "s")
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), address, address+".ttrpc")
	testutil.Must(p.t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600))
	cmd := exec.Command("containerd", "--config", filepath.Join(dir, "config.toml"))
	log, err := cmd.StderrPipe()
	testutil.Must(p.t, err)
	testutil.Must(p.t, cmd.Start())
	ready, ended := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(ended)
		var all bytes.Buffer
		buf := make([]byte, 4096)
		for {
			n, err := log.Read(buf)
			all.Write(buf[:n])
			if bytes.Contains(all.Bytes(), []byte("containerd successfully booted")) {
				select {
				case ready <- true:
				default:
				}
			}
			if err != nil {
				close(ready)
				return
			}
		}
	}()
	p.t.Cleanup(func() {
		testutil.Must(p.t, cmd.Process.Signal(syscall.SIGTERM))
		<-ended
		_ = cmd.Wait() // its exit code says nothing
	})
	if !<-ready {
		p.t.Fatal("containerd ended before it was ready")
	}
	return func(args ...string) result {
		p.t.Helper()
		return p.finish(exec.Command("ctr", append([]string{"--address", address}, args...)...))
	}
}

// containerd's shim for runc drives berth-oci by its name alone.
func TestContainerd(t *testing.T) {
	p := newPlace(t)
	for _, tool := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		testutil.RequireTool(t, tool)
	}
	dir, err := os.MkdirTemp("", "c") // paths of sockets are short
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, os.RemoveAll(dir)) })
	testutil.Must(t, syscall.Mount("tmpfs", "/run", "tmpfs", 0, "")) // the shim has its sockets and states there
	t.Cleanup(func() { testutil.Must(t, syscall.Unmount("/run", syscall.MNT_DETACH)) })
	ctr := p.containerd(dir)
	flags := []string{"run", "--rm", "--runc-binary", p.binary, "--cgroup", testutil.CgroupRoot() + "/ctr", "--mount", "type=bind,src=/usr,dst=/usr,options=rbind:ro"}
	run := func(code int, output string, command ...string) {
		t.Helper()
		args := append(append(append([]string{}, flags...), "--rootfs", filepath.Join(p.bundle, "rootfs"), "box"), command...)
		if r := ctr(args...); r.code != code || !strings.Contains(r.stdout+r.stderr, output) {
			t.Errorf("ctr %v: %+v; want code %d and %q", args, r, code, output)
		}
	}
	run(0, "hello", "echo", "hello")
	run(5, "", "sh", "-c", "exit 5")
	run(1, "nosuch", "nosuch")
}
