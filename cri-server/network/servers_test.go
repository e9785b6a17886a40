package network_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

// running lists the processes of a world's plugin.
func (w *world) running(plugin string) (pids []int) {
	w.t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	testutil.Must(w.t, err)
	for _, link := range links {
		path, err := os.Readlink(link)
		if err != nil || strings.TrimSuffix(path, " (deleted)") != filepath.Join(w.bin, plugin) {
			continue // it has ended, or is another
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		testutil.Must(w.t, err)
		pids = append(pids, pid)
	}
	return pids
}

// attach attaches a pod and returns the plugin's processes then.
func (w *world) attach(t *testing.T, id string) []int {
	t.Helper()
	p := pod(id)
	p.Netns = testutil.NewNetNS(t)
	_, err := w.Setup(t.Context(), p)
	testutil.Must(t, err)
	return w.running("bridge")
}

func TestOneProcessOfAPluginServesManyCalls(t *testing.T) {
	w := newWorld(t, nil)
	w.buildPlugins()
	first := w.attach(t, "a")
	if second := w.attach(t, "b"); len(first) != 1 || !slices.Equal(first, second) {
		t.Fatalf("processes %v, then %v", first, second)
	}

	// One that was killed meanwhile is replaced, as is one whose file is another by now.
	w.kill(first[0])
	third := w.attach(t, "c")
	if len(third) != 1 || third[0] == first[0] {
		t.Fatalf("processes %v after %v was killed", third, first)
	}
	path := filepath.Join(w.bin, "bridge")
	data, err := os.ReadFile(path)
	testutil.Must(t, errors.Join(err, os.WriteFile(path+".new", data, 0o755), os.Rename(path+".new", path)))
	if fourth := w.attach(t, "d"); slices.Max(fourth) == third[0] || len(fourth) != 2 {
		t.Errorf("processes %v with a new file, %v before", fourth, third)
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		testutil.Must(t, w.Teardown(t.Context(), pod(id)))
	}
	testutil.Must(t, errors.Join(w.GC(t.Context(), nil), w.Close()))
	if left := w.running("bridge"); len(left) != 0 {
		t.Errorf("processes %v are left", left)
	}
}

// kill ends a process and waits for its end.
func (w *world) kill(pid int) {
	w.t.Helper()
	f, err := sys.PidfdOpen(pid)
	testutil.Must(w.t, err)
	testutil.Must(w.t, errors.Join(syscall.Kill(pid, syscall.SIGKILL), sys.AwaitPidfd(w.t.Context(), f), f.Close()))
}

func TestAServerThatHangsIsKilled(t *testing.T) {
	w := newWorld(t, func(c *network.Config) { c.PluginTimeout = 3 * time.Second })
	w.buildPlugins()
	pids := w.attach(t, "a")
	testutil.Must(t, syscall.Kill(pids[0], syscall.SIGSTOP))
	p := pod("b")
	p.Netns = testutil.NewNetNS(t)
	if _, err := w.Setup(t.Context(), p); !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("got %v", err)
	}
	if left := w.running("bridge"); slices.Contains(left, pids[0]) {
		t.Errorf("processes %v are left of %v", left, pids)
	}
	testutil.Must(t, errors.Join(w.Teardown(t.Context(), pod("a")), w.Teardown(t.Context(), pod("b")), w.GC(t.Context(), nil)))
}
