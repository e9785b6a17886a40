package pod

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/cri-server/stats"
	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/userns"
)

type fakeImages struct{ w *world }

func (f fakeImages) Resolve(ctx context.Context, ref string) (imagestore.Image, error) {
	if err := f.w.step(ctx, "resolve"); err != nil {
		return imagestore.Image{}, err
	}
	if strings.Contains(ref, "missing") {
		return imagestore.Image{}, errdefs.NotFound("image %s is not here", ref)
	}
	return imagestore.Image{
		ID: digest.FromString(ref).String(), Digests: []string{ref + "@" + digest.FromString(ref).String()},
		Config: ocispec.Image{Config: ocispec.ImageConfig{Cmd: []string{"/bin/sh"}, StopSignal: "SIGUSR1"}},
	}, nil
}

func (f fakeImages) Prepare(ctx context.Context, key, _ string) error {
	return f.w.do(ctx, "prepare layer", func() { f.w.held["layer "+key] = true })
}

func (f fakeImages) Retain(ctx context.Context, key, _ string) error {
	return f.w.do(ctx, "retain image", func() { f.w.held["layer "+key] = true })
}

func (f fakeImages) Mount(ctx context.Context, _ string, as snapshot.As) (*os.File, error) {
	f.w.label("root", as.Label)
	if err := f.w.step(ctx, "mount root"); err != nil {
		return nil, err
	}
	return f.w.root()
}

func (f fakeImages) ProbeMapping(*os.File) error                                 { return nil }
func (f fakeImages) View(context.Context, string, snapshot.As) (*os.File, error) { return f.w.root() }

func (f fakeImages) Discard(ctx context.Context, key string) error {
	return f.w.do(ctx, "discard layer", func() { delete(f.w.held, "layer "+key) })
}

func (f fakeImages) Usage(context.Context, string) (imagestore.Usage, error) {
	return imagestore.Usage{Bytes: 1, Inodes: 2}, nil
}

func (f fakeImages) Keys(context.Context) ([]string, error) {
	var keys []string
	for _, thing := range f.w.left() {
		if key, ok := strings.CutPrefix(thing, "layer "); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

type fakeNetwork struct{ w *world }

func (f fakeNetwork) Setup(ctx context.Context, a network.Attachment) (network.Result, error) {
	err := f.w.do(ctx, "set up network", func() { f.w.held["network "+a.PodID] = true })
	return network.Result{IPs: []netip.Addr{netip.MustParseAddr("10.1.2.3")}, Raw: []byte(`{}`)}, err
}

func (f fakeNetwork) Teardown(ctx context.Context, a network.Attachment) error {
	return f.w.do(ctx, "take down network", func() { delete(f.w.held, "network "+a.PodID) })
}

func (f fakeNetwork) GC(_ context.Context, valid []string) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for thing := range f.w.held {
		if id, ok := strings.CutPrefix(thing, "network "); ok && !slices.Contains(valid, id) {
			delete(f.w.held, thing)
		}
	}
	return nil
}

type fakeCgroups struct{ w *world }

func (f fakeCgroups) Create(ctx context.Context, path string, _ *specs.LinuxResources) error {
	return f.w.do(ctx, "make cgroup", func() { f.w.held["cgroup "+path] = true })
}

func (f fakeCgroups) Update(ctx context.Context, _ string, _ *specs.LinuxResources) error {
	return f.w.step(ctx, "update cgroup")
}

func (f fakeCgroups) Stats(string) (cgroup.Stats, error) {
	return cgroup.Stats{}, errdefs.NotFound("no cgroup")
}

func (f fakeCgroups) Remove(ctx context.Context, path string) error {
	return f.w.do(ctx, "remove cgroup", func() { delete(f.w.held, "cgroup "+path) })
}

func (f fakeCgroups) Children(parent string) ([]string, error) {
	var names []string
	for _, thing := range f.w.left() {
		if name, ok := strings.CutPrefix(thing, "cgroup "+parent+"/"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

type fakeNamespaces struct{ w *world }

func (f fakeNamespaces) Users(userns.Mappings) (*os.File, error) { return f.w.root() }

func (f fakeNamespaces) Create(ctx context.Context, c netns.Config, _ *userns.Mappings) (netns.Pins, error) {
	err := f.w.do(ctx, "make namespaces", func() { f.w.held["netns "+c.Dir] = true })
	return netns.Pins{Net: c.Dir + "/net", IPC: c.Dir + "/ipc", UTS: c.Dir + "/uts"}, err
}

func (f fakeNamespaces) Remove(ctx context.Context, dir string) error {
	return f.w.do(ctx, "remove namespaces", func() { delete(f.w.held, "netns "+dir) })
}

func (f fakeNamespaces) Counters(string) ([]stats.Network, error) {
	return []stats.Network{{Name: "eth0", RxBytes: 5}}, nil
}

func (f fakeNamespaces) Dial(context.Context, string, int32) (Conn, error) {
	return nil, errdefs.NotSupported("fake")
}

type fakeMachine struct{ w *world }

func (f fakeMachine) Host(context.Context) (spec.Host, error) {
	return spec.Host{Hostname: "node", Capabilities: []string{"CAP_KILL"}, SELinux: f.w.selinux}, nil
}

func (f fakeMachine) BootID() (string, error) { return f.w.bootID, nil }

func (f fakeMachine) MountShm(path string, _ int64) error {
	return f.w.do(context.Background(), "mount shm", func() { f.w.held["shm "+path] = true })
}

func (f fakeMachine) Unmount(path string) error {
	return f.w.do(context.Background(), "unmount shm", func() { delete(f.w.held, "shm "+path) })
}

func (f fakeMachine) Subtree(mount *os.File, _ string) (*os.File, error) {
	return os.Open(mount.Name())
}

func (f fakeMachine) PauseRoot(string) (*os.File, error) { return f.w.root() }

func (f fakeMachine) Devices(context.Context, []spec.Device) ([]spec.DeviceNode, error) {
	return nil, nil
}

func (f fakeMachine) Relabel(ctx context.Context, path, label string) error {
	f.w.label(path, label)
	return f.w.step(ctx, "relabel")
}

func (f fakeMachine) Confine(context.Context, string) error { return nil }

func (f fakeMachine) AllDevices(context.Context) ([]spec.DeviceNode, error) { return nil, nil }

func (f fakeMachine) PrepareSource(_ context.Context, m spec.Mount) (string, error) {
	return m.HostPath, nil
}

func (f fakeMachine) CopyUp(*os.File, string, string, int, int) error { return nil }

func (f fakeMachine) User(_ *os.File, user string) (spec.User, error) {
	if user == "nobody-knows" {
		return spec.User{}, errdefs.Invalid("no user %q", user)
	}
	return spec.User{}, nil
}

func (f fakeMachine) Seccomp(path string) (*specs.LinuxSeccomp, error) {
	return nil, errdefs.NotFound("no profile %s", path)
}

type fakeRuntime struct {
	w     *world
	exits chan container.ExitEvent
}

func (f fakeRuntime) Create(ctx context.Context, o container.CreateOptions) error {
	group := "cgroup " + o.Spec.Linux.CgroupsPath
	var exists error
	err := f.w.do(ctx, "create", func() {
		if f.w.held[group] {
			exists = errdefs.Exists("%s exists", group)
		}
		f.w.held[group] = true
	})
	err = errors.Join(err, exists)
	for _, file := range append([]*os.File{o.Root}, filesOf(o.Mounts)...) {
		if file != nil {
			if closeErr := file.Close(); closeErr != nil {
				f.w.t.Error(closeErr)
			}
		}
	}
	return err
}

func filesOf(m map[string]*os.File) (list []*os.File) {
	for _, f := range m {
		list = append(list, f)
	}
	return list
}

func (f fakeRuntime) Start(ctx context.Context, id string) (client.Started, error) {
	err := f.w.do(ctx, "start", func() { f.w.held["process "+id] = true })
	return client.Started{PID: 4711, At: time.Now()}, err
}

func (f fakeRuntime) Exec(context.Context, string, container.ExecOptions) (Exec, error) {
	return nil, errdefs.NotSupported("fake")
}

func (f fakeRuntime) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	ignored := false
	err := f.w.do(ctx, "signal", func() {
		f.w.signals[id] = append(f.w.signals[id], sig)
		ignored = f.w.ignoring[id]
	})
	if err == nil && !ignored {
		f.w.end(id, client.Exit{Code: 0, At: time.Now(), Known: true})
	}
	return err
}

func (f fakeRuntime) Kill(ctx context.Context, id string) error {
	err := f.w.step(ctx, "kill")
	if err == nil {
		f.w.end(id, client.Exit{Code: 137, Signal: 9, At: time.Now(), Known: true})
	}
	return err
}

func (f fakeRuntime) Update(ctx context.Context, _ string, _ *specs.LinuxResources) error {
	return f.w.step(ctx, "update")
}

func (f fakeRuntime) Delete(ctx context.Context, id string, o container.DeleteOptions) error {
	return f.w.do(ctx, "delete", func() {
		delete(f.w.held, "process "+id)
		delete(f.w.held, "cgroup "+o.CgroupPath)
	})
}

func (f fakeRuntime) Restore(_ context.Context, list []container.Restored) (map[string]container.State, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	out := map[string]container.State{}
	for _, r := range list {
		exit, ended := f.w.ends[r.ID]
		switch {
		case f.w.held["process "+r.ID]:
			out[r.ID] = container.State{Status: container.StatusRunning, PID: 4711, StartedAt: time.Now()}
		case ended:
			out[r.ID] = container.State{Status: container.StatusStopped, StartedAt: time.Now(), Exit: exit}
		default:
			out[r.ID] = container.State{Status: container.StatusUnknown}
		}
	}
	return out, nil
}

func (f fakeRuntime) Attach(context.Context, string, *os.File, *os.File, *os.File) error { return nil }

func (f fakeRuntime) Resize(context.Context, string, uint16, uint16) error { return nil }

func (f fakeRuntime) CloseStdin(context.Context, string) error { return nil }

func (f fakeRuntime) ReopenLog(ctx context.Context, _ string) error { return f.w.step(ctx, "reopen") }

func (f fakeRuntime) OOMKilled(_ context.Context, id string) (bool, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.held["oom "+id], nil
}

func (f fakeRuntime) Stats(context.Context, string) (cgroup.Stats, error) {
	return cgroup.Stats{CPU: &cgroup.CPUStats{UsageNS: 7}}, nil
}
func (f fakeRuntime) PID(string) (int, error) { return os.Getpid(), nil }

func (f fakeRuntime) Exits() <-chan container.ExitEvent { return f.exits }
