package container_test

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
)

// A race is a test in which a neighbour swaps names for links all the time while many containers start. It does not matter
// which of the two is faster: what is asserted holds for every start that succeeds.
type race struct {
	t    *testing.T
	n    *node
	host string // a folder of the host that links lead to; it holds the file secret, and nothing else may come
	root string // a root file system that all containers share, as seen from the host

	mountinfo []byte // of the host
	results   struct {
		sync.Mutex
		started, refused int
		why              map[string]int
	}
}

const secret = "HOST SECRET"

// tries is how many starts a race takes. Where the processor is emulated, BERTH_TEST_TRIES makes them fewer.
func tries() int {
	if n, err := strconv.Atoi(os.Getenv("BERTH_TEST_TRIES")); err == nil {
		return n
	}
	return 1000
}

func newRace(t *testing.T, n *node, change func(root string)) *race {
	t.Helper()
	r := &race{t: t, n: n, host: t.TempDir(), root: t.TempDir()}
	r.results.why = make(map[string]int)
	testutil.Must(t, os.WriteFile(r.host+"/secret", []byte(secret), 0o600))
	root, at := n.newRoot(t, change), openPath(t, r.root)
	testutil.Must(t, sys.MoveMount(root, at))
	testutil.Must(t, errors.Join(root.Close(), at.Close()))
	t.Cleanup(func() { testutil.Must(t, syscall.Unmount(r.root, syscall.MNT_DETACH)) })
	var err error
	r.mountinfo, err = os.ReadFile("/proc/self/mountinfo")
	testutil.Must(t, err)
	return r
}

func openPath(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	testutil.Must(t, err)
	return f
}

// swap exchanges pairs of names until the function that it returns is called.
func (r *race) swap(pairs ...[2]string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	var names [][2]*byte
	for _, p := range pairs {
		from, err := syscall.BytePtrFromString(p[0])
		testutil.Must(r.t, err)
		to, err := syscall.BytePtrFromString(p[1])
		testutil.Must(r.t, err)
		names = append(names, [2]*byte{from, to})
	}
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
				exchange(names[i%len(names)][0], names[i%len(names)][1])
			}
		}
	}()
	return func() { close(quit); <-done }
}

// run starts containers, several at once, and has each that started judged by its output when it has ended.
func (r *race) run(prepare func() *trial, judge func(tr *trial, out string)) {
	r.t.Helper()
	const lanes = 4
	var wg sync.WaitGroup
	work := make(chan *trial, lanes)
	for range lanes {
		wg.Go(func() {
			for tr := range work {
				out, started, err := r.attempt(tr)
				if err != nil {
					r.t.Errorf("%s: %v", tr.id, err)
				}
				if started {
					judge(tr, out)
				}
			}
		})
	}
	for range tries() {
		tr := prepare()
		tr.opts.Root = r.clone()
		work <- tr
	}
	close(work)
	wg.Wait()
	r.t.Logf("%d started, %d refused: %v", r.results.started, r.results.refused, r.results.why)
	if r.results.started == 0 {
		r.t.Error("none has started: nothing is shown")
	}
}

// clone returns a mount of the shared root.
func (r *race) clone() *os.File {
	r.t.Helper()
	root, err := sys.OpenTree(nil, r.root, true)
	testutil.Must(r.t, err)
	testutil.Must(r.t, sys.MountSetattr(root, sys.MountAttr{Propagation: syscall.MS_PRIVATE}, true))
	return root
}

func (r *race) attempt(tr *trial) (out string, started bool, err error) {
	refusal := r.n.Create(bg(), tr.opts)
	if refusal == nil {
		_, refusal = r.n.Start(bg(), tr.id)
	}
	r.note(refusal)
	if refusal == nil {
		_, err = r.n.Wait(bg(), tr.id)
	}
	err = errors.Join(err, r.n.Delete(bg(), tr.id, container.DeleteOptions{CgroupPath: tr.spec.Linux.CgroupsPath}))
	data, readErr := os.ReadFile(tr.opts.LogPath)
	if refusal == nil {
		return string(data), true, errors.Join(err, readErr, os.Remove(tr.opts.LogPath))
	}
	_ = os.Remove(tr.opts.LogPath) // it may be there
	return "", false, err
}

func (r *race) note(refusal error) {
	r.results.Lock()
	defer r.results.Unlock()
	if refusal == nil {
		r.results.started++
		return
	}
	r.results.refused++
	text := refusal.Error()
	r.results.why[text[strings.LastIndex(text, ": ")+2:]]++
}

// wantHostUntouched wants the host to be as it was.
func (r *race) wantHostUntouched() {
	r.t.Helper()
	entries, err := os.ReadDir(r.host)
	if err != nil || len(entries) != 1 {
		r.t.Errorf("in the host's folder: %v %v", entries, err)
	}
	if data, err := os.ReadFile(r.host + "/secret"); err != nil || string(data) != secret {
		r.t.Errorf("the host's file is %q, %v", data, err)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	testutil.Must(r.t, err)
	if !bytes.Equal(r.mountinfo, after) {
		r.t.Errorf("the host's mounts were\n%s\nand are\n%s", r.mountinfo, after)
	}
}
