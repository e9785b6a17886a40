package pod_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/supervise"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// node is a manager over the real runtime, keeper, namespaces and cgroups. Its images are one program in an otherwise empty
// root, and its network is loopback.
type node struct {
	*pod.Manager
	t       *testing.T
	dir     string
	probe   []byte
	keeper  string
	host    *cgroup.Host
	log     *slog.Logger
	images  *probeImages
	runtime *container.Runtime
	sup     *supervise.Supervisor
}

func newNode(t *testing.T) *node {
	testutil.RequireRoot(t)
	n := &node{t: t, dir: t.TempDir()}
	n.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	n.keeper = filepath.Join(n.dir, "berth-keeper")
	probe := filepath.Join(n.dir, "probe")
	for out, pkg := range map[string]string{n.keeper: "../../runtime/cmd/berth-keeper", probe: "../../runtime/container/testdata/probe"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, text)
		}
	}
	var err error
	n.probe, err = os.ReadFile(probe)
	testutil.Must(t, err)
	n.images = &probeImages{probe: n.probe, keys: map[string]bool{}}
	n.host, err = cgroup.Detect()
	testutil.Must(t, err)
	n.start()
	t.Cleanup(n.tearDown)
	return n
}

// start does what a start of berthd does.
func (n *node) start() {
	n.t.Helper()
	n.sup = supervise.New(supervise.Config{
		Binary: n.keeper, Socket: n.dir + "/keeper/socket", StateDir: n.dir + "/keeper", Logger: n.log,
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var err error
	n.runtime, err = container.New(ctx, container.Config{State: n.dir + "/stdio", Keeper: n.sup, Cgroups: n.host, Logger: n.log})
	testutil.Must(n.t, err)
	n.Manager, err = pod.New(ctx, pod.Config{
		State: n.dir + "/state", Volumes: n.dir + "/volumes", CgroupRoot: testutil.CgroupRoot(),
		Images: n.images, Network: noNetwork{}, Runtime: pod.Native(n.runtime), Cgroups: pod.HostCgroups(n.host),
		Namespaces: pod.PinnedNamespaces(), Machine: pod.Linux(), Logger: n.log,
	})
	testutil.Must(n.t, err)
	testutil.Must(n.t, n.Recover(ctx))
}

// stop ends the manager and the runtime; keeper and containers go on.
func (n *node) stop() {
	n.t.Helper()
	testutil.Must(n.t, errors.Join(n.runtime.Close(), n.Close(), n.sup.Close()))
}

func (n *node) tearDown() {
	for _, p := range n.Pods(context.Background(), pod.PodFilter{}) {
		if err := n.RemovePod(context.Background(), p.ID); err != nil {
			n.t.Error(err)
		}
	}
	n.stop()
	n.killKeeper()
	if g, err := n.host.Open(testutil.CgroupRoot()); err == nil {
		if err := g.Remove(context.Background()); err != nil {
			n.t.Error(err)
		}
	}
	testutil.Must(n.t, n.host.Close())
	if n.t.Failed() {
		text, err := os.ReadFile(n.dir + "/keeper/keeper.log")
		n.t.Logf("keeper's log: %s, %v", text, err)
	}
	for _, dir := range []string{"state/pods", "state/containers", "volumes", "stdio"} {
		entries, err := os.ReadDir(filepath.Join(n.dir, dir))
		if err != nil {
			n.t.Error(err)
		}
		for _, e := range entries {
			n.t.Errorf("left behind: %s/%s", dir, e.Name())
		}
	}
	if keys, err := n.images.Keys(context.Background()); len(keys) > 0 || err != nil {
		n.t.Errorf("layers left behind: %q, %v", keys, err)
	}
}

// killKeeper finds the keeper by its command line, which nobody else's has.
func (n *node) killKeeper() {
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	testutil.Must(n.t, err)
	for _, d := range dirs {
		data, err := os.ReadFile(d)
		if err != nil || !strings.HasPrefix(string(data), n.keeper+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(d, "/proc/%d/", &pid); err != nil {
			n.t.Fatal(err)
		}
		f, err := sys.PidfdOpen(pid)
		testutil.Must(n.t, err)
		testutil.Must(n.t, sys.PidfdSignal(f, syscall.SIGKILL))
		testutil.Must(n.t, sys.AwaitPidfd(context.Background(), f))
		testutil.Must(n.t, f.Close())
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil && err != syscall.ECHILD {
			n.t.Error(err)
		}
	}
}

// probeImages has every image there is; all are the probe.
type probeImages struct {
	probe []byte
	mu    sync.Mutex
	keys  map[string]bool
}

func (p *probeImages) Resolve(_ context.Context, ref string) (imagestore.Image, error) {
	if ref == "missing" {
		return imagestore.Image{}, errdefs.NotFound("image %s is not here", ref)
	}
	return imagestore.Image{ID: "sha256:" + strings.Repeat("0", 64), Config: ocispec.Image{Config: ocispec.ImageConfig{
		Entrypoint: []string{"/bin/probe"}, Volumes: map[string]struct{}{"/vol": {}},
	}}}, nil
}

func (p *probeImages) Prepare(_ context.Context, key, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[key] = true
	return nil
}

func (p *probeImages) Retain(ctx context.Context, key, image string) error {
	return p.Prepare(ctx, key, image)
}

func (p *probeImages) Mount(_ context.Context, _ string, as snapshot.As) (_ *os.File, err error) {
	tmpfs, err := sys.Fsopen("tmpfs")
	if err != nil {
		return nil, err
	}
	root, err := tmpfs.Mount("root", 0)
	if err := errors.Join(err, tmpfs.Close()); err != nil {
		return nil, err
	}
	at := fmt.Sprintf("/proc/self/fd/%d/", root.Fd())
	var errs []error
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev", "vol", "vol/sub"} {
		errs = append(errs, os.Mkdir(at+d, 0o755))
	}
	for name, content := range map[string]string{
		"vol/sub/file": "of the image", "etc/passwd": "root:x:0:0::/root:/x\nweb:x:33:33::/srv:/x\n", "etc/group": "web:x:33:\nmore:x:44:web\n",
		"etc/hosts": "", "etc/hostname": "", "etc/resolv.conf": "",
	} {
		errs = append(errs, os.WriteFile(at+name, []byte(content), 0o640))
	}
	errs = append(errs, os.Symlink("file", at+"vol/sub/link"), os.Chown(at+"vol/sub/file", 33, 44), os.Chmod(at+"vol", 0o777|os.ModeSticky))
	errs = append(errs, os.WriteFile(at+"bin/probe", p.probe, 0o755))
	if as.Users != nil { // as the image store's mapped mounts show it
		errs = append(errs, filepath.WalkDir(at+".", func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, mappedUID, mappedGID))
		}))
	}
	return root, errors.Join(errs...)
}

func (p *probeImages) View(ctx context.Context, _ string, as snapshot.As) (*os.File, error) {
	root, err := p.Mount(ctx, "", as)
	if err != nil {
		return nil, err
	}
	return root, sys.MountSetattr(root, sys.MountAttr{Set: sys.MountRdonly}, false)
}

func (p *probeImages) ProbeMapping(*os.File) error { return nil }

func (p *probeImages) Discard(_ context.Context, key string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, key)
	return nil
}

func (p *probeImages) Usage(context.Context, string) (imagestore.Usage, error) {
	return imagestore.Usage{Bytes: 4096, Inodes: 1}, nil
}

func (p *probeImages) Keys(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for k := range p.keys {
		keys = append(keys, k)
	}
	return keys, nil
}

type noNetwork struct{}

func (noNetwork) Setup(context.Context, network.Attachment) (network.Result, error) {
	return network.Result{}, nil
}
func (noNetwork) Teardown(context.Context, network.Attachment) error { return nil }
func (noNetwork) GC(context.Context, []string) error                 { return nil }

// pod runs a pod whose logs are below the node's folder.
func (n *node) pod(name string, change func(*spec.PodConfig)) string {
	n.t.Helper()
	logs := filepath.Join(n.dir, "logs", name)
	testutil.Must(n.t, os.MkdirAll(logs, 0o755))
	cfg := spec.PodConfig{Name: name, Namespace: "default", UID: name, LogDirectory: logs, Hostname: name + "-host"}
	if change != nil {
		change(&cfg)
	}
	id, err := n.RunPod(n.t.Context(), cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// container creates a container that runs commands of the probe.
func (n *node) container(podID, name string, change func(*spec.ContainerConfig), commands ...string) string {
	n.t.Helper()
	cfg := spec.ContainerConfig{
		Name: name, Image: "probe", Args: commands, LogPath: name + ".log",
		Security: spec.ContainerSecurity{Namespaces: spec.Namespaces{PID: spec.NamespaceContainer}},
	}
	if change != nil {
		change(&cfg)
	}
	id, err := n.CreateContainer(n.t.Context(), podID, cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// run creates and starts one.
func (n *node) run(podID, name string, change func(*spec.ContainerConfig), commands ...string) string {
	n.t.Helper()
	id := n.container(podID, name, change, commands...)
	if err := n.StartContainer(n.t.Context(), id); err != nil {
		n.t.Fatal(err)
	}
	return id
}

// until waits for a condition that another process brings about.
func (n *node) until(what string, reached func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !reached(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("never: %s", what)
		}
	}
}

// ended waits for the end of a container.
func (n *node) ended(id string) pod.ContainerStatus {
	n.t.Helper()
	var s pod.ContainerStatus
	n.until("the container has ended", func() bool {
		var err error
		if s, err = n.Container(context.Background(), id); err != nil {
			n.t.Fatal(err)
		}
		return s.State == pod.ContainerExited
	})
	return s
}

// logged waits until the log of a container holds a text.
func (n *node) logged(id, text string) {
	n.t.Helper()
	s, err := n.Container(context.Background(), id)
	testutil.Must(n.t, err)
	n.until(fmt.Sprintf("%q in %s", text, s.LogPath), func() bool {
		data, err := os.ReadFile(s.LogPath)
		return err == nil && strings.Contains(string(data), text)
	})
}

func (n *node) exec(id string, timeout time.Duration, commands ...string) (pod.ExecResult, error) {
	n.t.Helper()
	return n.ExecSync(n.t.Context(), id, append([]string{"/bin/probe"}, commands...), timeout)
}
