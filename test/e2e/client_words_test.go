package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// TestClientInterrupted wants a run that is given up while its pod is made to leave nothing, and no words.
func TestClientInterrupted(t *testing.T) {
	dir := t.TempDir()
	gate, begun := filepath.Join(dir, "gate"), filepath.Join(dir, "begun")
	for _, fifo := range []string{gate, begun} {
		testutil.Must(t, syscall.Mkfifo(fifo, 0o600))
	}
	f := network(t, `{"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "slow"}]}`, map[string]string{"slow": `
case $CNI_COMMAND in
ADD) echo >` + begun + `; cat ` + gate + ` >/dev/null; echo '{"cniVersion": "1.1.0", "interfaces": [], "ips": []}';;
VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}';;
esac`})
	if _, errOut, code := f.call(t, "pull", busybox); code != 0 {
		t.Fatal(errOut)
	}
	cmd := f.berth(t, "run", "--name", "c", busybox, "true")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	testutil.Must(t, cmd.Start())
	_, err := os.ReadFile(begun)
	testutil.Must(t, err)
	testutil.Must(t, cmd.Process.Signal(syscall.SIGINT))
	testutil.Must(t, os.WriteFile(gate, nil, 0))
	if got := code(t, cmd.Wait()); got != 130 || said.Len() > 0 {
		t.Errorf("exit %d, %q", got, said.String())
	}
	f.noPods(t)
}

// TestClientSaysWhatIsWrong wants plain words, from a berth that has not asked berthd where it need not.
func TestClientSaysWhatIsWrong(t *testing.T) {
	f := setup(t, node.Options{})
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
		not  []string
	}{
		"too few arguments":  {[]string{"--socket", "/none", "exec", "c"}, 1, "usage: berth exec", []string{"arg(s)"}},
		"unknown flag":       {[]string{"--socket", "/none", "run", "--nope"}, 1, "see berth run --help", nil},
		"wrong flag":         {[]string{"--socket", "/none", "run", "-m", "lots", busybox}, 125, "-m", []string{"connect"}},
		"wrong volume":       {[]string{"--socket", "/none", "run", "-v", "x", busybox}, 125, "-v x", []string{"connect"}},
		"wrong credentials":  {[]string{"--socket", "/none", "pull", "--creds", "x", busybox}, 1, "--creds", []string{"connect"}},
		"a foreign address":  {[]string{"run", "-d", "-p", "8.8.8.8:8081:80", busybox}, 125, "8.8.8.8", nil},
		"an image not there": {[]string{"pull", "nosuch"}, 1, "pull docker.io/library/nosuch:latest: ", []string{"pull nosuch: ", "of docker.io/library/nosuch:"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, errOut, code := f.call(t, tt.args...)
			if code != tt.code || !strings.Contains(errOut, tt.want) {
				t.Errorf("exit %d, %q", code, errOut)
			}
			for _, not := range tt.not {
				if strings.Contains(errOut, not) {
					t.Errorf("%q is in %q", not, errOut)
				}
			}
		})
	}
	t.Run("a relative socket", func(t *testing.T) {
		cmd := f.berth(t, "--socket", filepath.Base(f.Socket), "ps")
		cmd.Dir = filepath.Dir(f.Socket)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("the memory limit", func(t *testing.T) {
		_, errOut, code := f.call(t, "run", "--name", "oom", "-m", "20m", busybox, "sh", "-c", "head -c 200000000 /dev/zero | tail")
		if code != 137 || !strings.Contains(errOut, "memory limit reached") {
			t.Errorf("exit %d, %q", code, errOut)
		}
		if out, _, _ := f.call(t, "ps", "-a"); !strings.Contains(out, "Exited (137)") || !strings.Contains(out, "memory limit reached") {
			t.Errorf("ps -a: %s", out)
		}
	})
	t.Run("a memory limit that no program fits into", func(t *testing.T) {
		_, errOut, code := f.call(t, "run", "--rm", "-m", "1", busybox, "true")
		if code != 137 || !strings.Contains(errOut, "memory limit reached") {
			t.Errorf("exit %d, %q", code, errOut)
		}
	})
	t.Run("exec", func(t *testing.T) {
		if _, errOut, code := f.call(t, "run", "-d", "--name", "c", busybox, "sleep", "1000"); code != 0 {
			t.Fatal(errOut)
		}
		cmd := f.berth(t, "exec", "c", "sh", "-c", "echo ready; exec sleep 1000")
		out, err := cmd.StdoutPipe()
		testutil.Must(t, err)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		testutil.Must(t, cmd.Start())
		readUntil(t, out, "ready\n")
		testutil.Must(t, cmd.Process.Signal(syscall.SIGINT))
		if got := code(t, cmd.Wait()); got != 130 || errOut.Len() > 0 {
			t.Errorf("exit %d, %q", got, errOut.String())
		}
		if _, errOut, code := f.call(t, "attach", "-i", "c"); code != 1 || !strings.Contains(errOut, "without standard input") {
			t.Errorf("attach -i: exit %d, %q", code, errOut)
		}
	})
	t.Run("leave an exec", func(t *testing.T) {
		master, slave := pty(t)
		cmd := f.berth(t, "exec", "-it", "c", "sh", "-c", "echo ready; exec sleep 1000")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		testutil.Must(t, cmd.Start())
		readUntil(t, master, "ready\r\n")
		_, err := master.WriteString("\x10\x11")
		testutil.Must(t, err)
		if got := code(t, cmd.Wait()); got != 0 {
			t.Errorf("exit %d", got)
		}
	})
}

// TestClientsPods wants an ended container to give its port back, a conflict to be named, and a pod without a
// container to be seen and removable.
func TestClientsPods(t *testing.T) {
	f := setup(t, node.Options{})
	if _, errOut, code := f.call(t, "run", "-d", "--name", "first", "-p", "18191:80", busybox, "true"); code != 0 {
		t.Fatal(errOut)
	}
	f.until(t, "the port is free", func() bool {
		_, _, code := f.call(t, "run", "-d", "--name", "second", "-p", "18191:80", busybox, "sleep", "1000")
		return code == 0
	})
	if _, errOut, code := f.call(t, "run", "-d", "--name", "third", "-p", "18191:80", busybox, "true"); code != 125 || !strings.Contains(errOut, "second") {
		t.Errorf("a taken port: exit %d, %q", code, errOut)
	}
	cfg := node.PodConfig("left", f.logs)
	cfg.Labels = map[string]string{"berth.name": "left"}
	_, err := f.RunPod(t.Context(), cfg)
	testutil.Must(t, err)
	if out, _, _ := f.call(t, "ps", "-a"); !strings.Contains(out, "left") {
		t.Errorf("ps -a: %s", out)
	}
	if _, errOut, code := f.call(t, "rm", "left"); code != 0 {
		t.Error(errOut)
	}
	if _, errOut, code := f.call(t, "rm", "-f", "first", "second"); code != 0 {
		t.Error(errOut)
	}
	f.noPods(t)
}
