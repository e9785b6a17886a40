package pod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/container"
)

// prepareMounts looks at what the mounts of a container lead to, and plans its anonymous volumes.
func (m *Manager) prepareMounts(ctx context.Context, r *containerRecord) error {
	r.Config.Mounts = slices.Clone(r.Config.Mounts)
	r.Sources = map[string]string{}
	for i, mount := range r.Config.Mounts {
		if mount.Image != nil {
			image, err := m.cfg.Images.Resolve(ctx, mount.Image.Image)
			if err != nil {
				return fmt.Errorf("mount %s: find image: %w", mount.ContainerPath, err)
			}
			resolved := *mount.Image
			resolved.Resolved = image.ID
			r.Config.Mounts[i].Image = &resolved
			continue
		}
		source, err := m.cfg.Machine.PrepareSource(ctx, mount)
		if err != nil {
			return fmt.Errorf("mount %s: %w", mount.ContainerPath, err)
		}
		r.Sources[mount.HostPath] = source
	}
	for i, p := range slices.Sorted(maps.Keys(r.Image.Volumes)) {
		if volumeWanted(p, r.Config.Mounts) {
			source := filepath.Join(m.volumesOf(r.ID), strconv.Itoa(i))
			r.Volumes = append(r.Volumes, spec.Volume{Path: path.Clean(p), Source: source})
		}
	}
	return nil
}

// volumeWanted says whether a VOLUME of the image becomes an anonymous volume: not if the client mounts something there,
// and not if it would hide the root or anything of what the kernel shows.
func volumeWanted(volume string, mounts []spec.Mount) bool {
	v := path.Clean(volume)
	if !path.IsAbs(v) || slices.Contains([]string{"/", "/proc", "/sys", "/dev"}, v) {
		return false
	}
	if strings.HasPrefix(v, "/proc/") || strings.HasPrefix(v, "/sys/") { // what the kernel says, in part (CVE-2019-16884)
		return false
	}
	return !slices.ContainsFunc(mounts, func(m spec.Mount) bool { return path.Clean(m.ContainerPath) == v })
}

// prepareContainer opens the container's root, finds out who runs in it, and hands all that to the runtime. It is repeated
// at the start if berthd was restarted meanwhile: a prepared container is open files, which end with their process.
func (m *Manager) prepareContainer(ctx context.Context, p *podEntry, c *containerEntry) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()

	rec := m.containerRecordOf(c)
	users, err := openUsers(m.recordOf(p))
	if err != nil {
		return err
	}
	if users != nil {
		defer func() { err = errors.Join(err, users.Close()) }()
	}
	as := snapshot.As{Users: users, Label: m.labels(m.recordOf(p), rec).Files}
	root, err := m.cfg.Images.Mount(ctx, rec.ID, as)
	if err != nil {
		return fmt.Errorf("mount the container's root: %w", err)
	}
	cu.Add(root.Close)
	if err := m.settleContainer(&rec, m.recordOf(p).Config, root); err != nil {
		return err
	}
	views, err := m.openViews(ctx, rec, as)
	cu.Add(func() error { return closeAll(views) })
	if err != nil {
		return err
	}
	in, err := m.inputOf(ctx, p, rec)
	if err != nil {
		return err
	}
	s, err := spec.Build(in)
	if err != nil {
		return err
	}
	if err := m.cfg.Machine.Confine(ctx, s.Process.ApparmorProfile); err != nil {
		return err
	}
	if err := m.labelFiles(ctx, in, as.Label); err != nil {
		return err
	}
	if missing := spec.MissingCapabilities(rec.Config, m.host.Capabilities); len(missing) > 0 {
		m.log.WarnContext(ctx, "capabilities that this host can't give are left out", "container", rec.ID, "missing", missing)
	}
	cu.Release() // the runtime owns the files from here on, also if it fails
	err = m.cfg.Runtime.Create(ctx, container.CreateOptions{
		ID: rec.ID, Spec: s, Root: root, Mounts: views, LogPath: spec.LogPath(in.Pod, rec.Config),
		Terminal: rec.Config.TTY, Stdin: rec.Config.Stdin, StdinOnce: rec.Config.StdinOnce,
	})
	if err != nil {
		return fmt.Errorf("prepare the container: %w", err)
	}
	if err := m.checkJoined(ctx, p, rec, in.Paths.PIDNS); err != nil {
		return errors.Join(err, m.cfg.Runtime.Delete(ctx, rec.ID, container.DeleteOptions{}))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.rec.User, c.spec, c.prepared = rec.User, s, true
	return nil
}

// settleContainer reads in the image who the user is, and fills anonymous volumes with what the image has in their place.
func (m *Manager) settleContainer(r *containerRecord, pod spec.PodConfig, root *os.File) (err error) {
	if r.User, err = m.cfg.Machine.User(root, spec.QueryUser(r.Config, r.Image)); err != nil {
		return fmt.Errorf("find the user in the image: %w", err)
	}
	uid, gid := spec.HostRoot(pod)
	for _, v := range r.Volumes {
		if err := m.cfg.Machine.CopyUp(root, v.Path, v.Source, uid, gid); err != nil {
			return fmt.Errorf("make anonymous volume %s: %w", v.Path, err)
		}
	}
	return nil
}

// openViews mounts the images that the container has as volumes. What it returns is the caller's, also with an error.
func (m *Manager) openViews(ctx context.Context, r containerRecord, as snapshot.As) (map[string]*os.File, error) {
	views := map[string]*os.File{}
	for i, mount := range r.Config.Mounts {
		if mount.Image == nil {
			continue
		}
		view, err := m.openView(ctx, viewKey(r.ID, i), mount, as)
		if err != nil {
			return views, fmt.Errorf("mount image %s on %s: %w", mount.Image.Image, mount.ContainerPath, err)
		}
		to := path.Clean(mount.ContainerPath)
		if views[to] != nil {
			return views, errors.Join(errdefs.Invalid("two images are mounted on %s", to), view.Close())
		}
		views[to] = view
	}
	return views, nil
}

// viewKey names the use of an image by a volume, for the image store.
func viewKey(id string, mount int) string { return id + "-image" + strconv.Itoa(mount) }

func (m *Manager) openView(ctx context.Context, key string, mount spec.Mount, as snapshot.As) (*os.File, error) {
	if err := m.cfg.Images.Retain(ctx, key, mount.Image.Resolved); err != nil {
		return nil, err
	}
	view, err := m.cfg.Images.View(ctx, mount.Image.Resolved, as)
	if err != nil || mount.ImageSubPath == "" {
		return view, err
	}
	sub, err := m.cfg.Machine.Subtree(view, mount.ImageSubPath)
	if err := errors.Join(err, view.Close()); err != nil {
		if sub != nil {
			err = errors.Join(err, sub.Close())
		}
		return nil, fmt.Errorf("open sub path %s: %w", mount.ImageSubPath, err)
	}
	return sub, nil
}

func closeAll(files map[string]*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// inputOf gathers what the spec of a container depends on.
func (m *Manager) inputOf(ctx context.Context, p *podEntry, r containerRecord) (spec.Input, error) {
	in := m.recordedInput(m.recordOf(p), r)
	var err error
	if in.Paths.PIDNS, err = m.pidNamespace(ctx, p, r.Config); err != nil {
		return in, err
	}
	if r.Config.Security.Privileged {
		if in.Devices, err = m.cfg.Machine.AllDevices(ctx); err != nil {
			return in, fmt.Errorf("list the host's devices: %w", err)
		}
	}
	nodes, err := m.cfg.Machine.Devices(ctx, r.Config.Devices)
	if err != nil {
		return in, err
	}
	in.Devices = append(in.Devices, nodes...)
	return in, nil
}

// recordedInput is the part of it that records hold.
func (m *Manager) recordedInput(pod podRecord, r containerRecord) spec.Input {
	in := spec.Input{
		ID: r.ID, PodID: pod.ID, Pod: pod.Config, Container: r.Config, Image: r.Image, User: r.User,
		Paths: m.containerPaths(pod), Cgroup: r.Cgroup, Volumes: r.Volumes, Seccomp: r.Seccomp, Host: m.host,
	}
	in.Container.Mounts = slices.Clone(in.Container.Mounts)
	for i, mount := range in.Container.Mounts {
		if source, ok := r.Sources[mount.HostPath]; ok && mount.Image == nil {
			in.Container.Mounts[i].HostPath = source
		}
	}
	return in
}

// respec makes the spec of a container that runs already: the same but for where its PID namespace and its devices came
// from, which only a start needs.
func (m *Manager) respec(pod podRecord, r containerRecord) (*specs.Spec, error) {
	in := m.recordedInput(pod, r)
	in.Paths.PIDNS = "/proc/self/ns/pid"
	return spec.Build(in)
}

func podPaths(r podRecord) spec.Paths {
	return spec.Paths{NetNS: r.Pins.Net, IPCNS: r.Pins.IPC, UTSNS: r.Pins.UTS, UserNS: r.Pins.User}
}

func (m *Manager) containerPaths(r podRecord) spec.Paths {
	paths := podPaths(r)
	paths.Hosts, paths.Hostname = m.podFile(r.ID, hostsFile), m.podFile(r.ID, hostnameFile)
	paths.Resolv = m.podFile(r.ID, resolvFile)
	paths.Shm = m.shmPath(r.ID)
	if r.Config.Security.Namespaces.IPC == spec.NamespaceNode {
		paths.Shm = "/dev/shm"
	}
	return paths
}
