package e2e

import (
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// TestSecondDaemonOnTheSameState wants the second one to leave, saying why, and the first one to go on.
func TestSecondDaemonOnTheSameState(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	c := run(t, p, "c", busybox, "sleep", "1000")
	second := osexec.CommandContext(t.Context(), f.Command[0], f.Command[1:]...)
	second.WaitDelay = 10 * time.Second
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), filepath.Join(f.Dir, "state")) {
		t.Errorf("the second berthd ends with %v and says:\n%s", err, out)
	}
	if got := exec(t, c, "echo", "here"); got != "here\n" {
		t.Errorf("the first one: %q", got)
	}
}

// TestSecondDaemonOnTheSameNames gives the second one folders of its own, and the first one's network or control group: it
// would remove the first one's pods as nobody's, so it has to leave, naming the key.
func TestSecondDaemonOnTheSameNames(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	c := run(t, p, "c", busybox, "sleep", "1000")
	config, err := os.ReadFile(filepath.Join(f.Dir, "etc", "config.toml"))
	testutil.Must(t, err)
	dir := t.TempDir()
	for key, text := range map[string]string{
		"cni.default_network": string(config),
		"cgroup.parent":       strings.Replace(string(config), `default_network = "berth"`, `default_network = "other"`, 1),
	} {
		path := filepath.Join(dir, key)
		testutil.Must(t, os.WriteFile(path, []byte(text), 0o644))
		second := osexec.CommandContext(t.Context(), f.Command[0], "--config", path,
			"--root", dir+"/root", "--state", dir+"/state", "--listen", dir+"/berth.sock")
		second.WaitDelay = 10 * time.Second
		out, err := second.CombinedOutput()
		if err == nil || !strings.Contains(string(out), key) {
			t.Errorf("%s: the second berthd ends with %v and says:\n%s", key, err, out)
		}
	}
	if got := exec(t, c, "echo", "here"); got != "here\n" {
		t.Errorf("the first one: %q", got)
	}
}

// TestUnknownKeyStopsTheStart wants the key, its line and the nearest known key to be named.
func TestUnknownKeyStopsTheStart(t *testing.T) {
	testutil.RequireRoot(t)
	f := prepare(t, node.Options{})
	path := filepath.Join(f.Dir, "etc", "config.toml")
	config, err := os.ReadFile(path)
	testutil.Must(t, err)
	testutil.Must(t, os.WriteFile(path, []byte(strings.Replace(string(config), "conf_dir", "conf_dri", 1)), 0o644))
	out, err := osexec.CommandContext(t.Context(), f.Command[0], f.Command[1:]...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "conf_dri") || !strings.Contains(string(out), "conf_dir") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestStateFilesCutInHalf cuts every record of a pod in half, one pod per kind of file, and wants berthd to start, to
// say so, and to serve the other pods.
func TestStateFilesCutInHalf(t *testing.T) {
	f := setup(t, node.Options{})
	good := f.pod(t, "good")
	kept := run(t, good, "c", busybox, "sleep", "1000")
	bad := f.pod(t, "bad")
	run(t, bad, "c", busybox, "sleep", "1000")
	testutil.Must(t, f.Node.Kill())
	if n := cutFiles(t, filepath.Join(f.Dir, "state"), bad.ID); n == 0 {
		t.Fatal("found no record of the pod to cut")
	}
	f.start(t)
	if got := exec(t, kept.With(f.Client), "echo", "here"); got != "here\n" {
		t.Errorf("the good pod: %q", got)
	}
	if log := f.LogTail(1 << 20); !strings.Contains(log, bad.ID) {
		t.Error("the log does not name the pod whose record is broken")
	}
	testutil.Must(t, bad.With(f.Client).Remove(t.Context()))
	f.pod(t, "bad") // its name is free
	aside, err := os.ReadDir(filepath.Join(f.Dir, "state", "bad"))
	testutil.Must(t, err)
	if len(aside) != 2 {
		t.Errorf("%d records were put aside, want the pod's and its container's", len(aside))
	}
	testutil.Must(t, os.RemoveAll(filepath.Join(f.Dir, "state", "bad"))) // they are for people to look at, and stay
	list, err := f.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{})
	testutil.Must(t, err)
	if len(list.GetItems()) != 2 {
		t.Errorf("%d pods, want 2: %v", len(list.GetItems()), list.GetItems())
	}
}

// cutFiles halves every JSON file below dir whose path or content names id, and returns how many.
func cutFiles(t *testing.T, dir, id string) (n int) {
	t.Helper()
	testutil.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".json" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(path+string(data), id) {
			n++
			return os.WriteFile(path, data[:len(data)/2], 0o600)
		}
		return nil
	}))
	return n
}
