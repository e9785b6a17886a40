package spec

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func checkMounts(p PodConfig, c ContainerConfig) error {
	for _, m := range c.Mounts {
		if err := errors.Join(checkMount(m), checkMountUsers(p, m)); err != nil {
			return err
		}
	}
	return nil
}

func checkMount(m Mount) error {
	if err := checkPath("mount path", m.ContainerPath); err != nil {
		return err
	}
	if path.Clean(m.ContainerPath) == "/" {
		return errdefs.Invalid("a mount on / would hide the container's root")
	}
	if m.Propagation < PropagationPrivate || m.Propagation > PropagationBidirectional {
		return errdefs.Invalid("mount %s: unknown propagation %d", m.ContainerPath, m.Propagation)
	}
	if m.RecursiveReadonly && !m.Readonly {
		return errdefs.Invalid("mount %s is recursively read-only but not read-only", m.ContainerPath)
	}
	if m.RecursiveReadonly && m.Propagation != PropagationPrivate {
		return errdefs.Invalid("mount %s is recursively read-only, which needs private propagation", m.ContainerPath)
	}
	if err := checkMountOptions(m); err != nil {
		return err
	}
	return checkMountSource(m)
}

func checkMountSource(m Mount) error {
	if m.Image == nil {
		if m.ImageSubPath != "" {
			return errdefs.Invalid("mount %s has an image sub path, but no image", m.ContainerPath)
		}
		return checkPath("mount "+m.ContainerPath+": host path", m.HostPath)
	}
	if m.HostPath != "" {
		return errdefs.Invalid("mount %s has both a host path and an image", m.ContainerPath)
	}
	if m.Image.Image == "" {
		return errdefs.Invalid("mount %s: the image has no name", m.ContainerPath)
	}
	if m.Propagation != PropagationPrivate {
		return errdefs.Invalid("mount %s: an image can only be mounted with private propagation", m.ContainerPath)
	}
	if path.IsAbs(m.ImageSubPath) || slices.Contains(strings.Split(m.ImageSubPath, "/"), "..") {
		return errdefs.Invalid("mount %s: image sub path %q must be relative and without '..'", m.ContainerPath, m.ImageSubPath)
	}
	return checkText("image sub path", m.ImageSubPath, maxPath)
}

// checkMountOptions accepts the options that only take away from what a mount can do and that every mount has. Those that
// give back (exec, suid, dev, rw) would undo what the host's administrator set; the rest are of file systems.
func checkMountOptions(m Mount) error {
	allowed := []string{"ro", "nosuid", "nodev", "noexec", "nosymfollow", "noatime", "nodiratime", "relatime"}
	for _, o := range m.Options {
		if !slices.Contains(allowed, o) {
			return errdefs.NotSupported("mount %s: option %q is not one that berth can add to a volume (%s)",
				m.ContainerPath, o, strings.Join(allowed, ", "))
		}
	}
	if slices.Contains(m.Options, "noatime") && slices.Contains(m.Options, "relatime") {
		return errdefs.Invalid("mount %s: options noatime and relatime exclude each other", m.ContainerPath)
	}
	return nil
}

// mounts returns the kernel's file systems, then the pod's files, then anonymous volumes, then the client's. A mount of the
// client's replaces one of ours on the same path; its own /dev replaces ours with all that we would put in it.
func mounts(in Input) []specs.Mount {
	asked := clientMounts(in.Container)
	list := slices.Concat(kernelMounts(in.Container.Security.Privileged), podMounts(in))
	list = slices.DeleteFunc(list, func(m specs.Mount) bool {
		return slices.ContainsFunc(asked, func(a specs.Mount) bool {
			return a.Destination == m.Destination || a.Destination == "/dev" && strings.HasPrefix(m.Destination, "/dev/")
		})
	})
	for _, v := range in.Volumes {
		if !slices.ContainsFunc(asked, func(a specs.Mount) bool { return a.Destination == path.Clean(v.Path) }) {
			list = append(list, specs.Mount{
				Destination: path.Clean(v.Path), Type: "bind", Source: v.Source, Options: []string{"rbind", "rprivate", "rw"},
			})
		}
	}
	list = append(list, asked...)
	// A mount hides what is below it, so the shorter path comes first; equal ones stay in the order given.
	slices.SortStableFunc(list, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	return list
}

func kernelMounts(privileged bool) []specs.Mount {
	access := "ro"
	if privileged {
		access = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
		},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{"nosuid", "noexec", "nodev", "relatime", access},
		},
	}
}

// Where containers see the files of their pod.
const (
	hostsPath    = "/etc/hosts"
	hostnamePath = "/etc/hostname"
	resolvPath   = "/etc/resolv.conf"
)

// PodFiles returns the paths in every container on which a file of its pod is mounted.
func PodFiles() []string { return []string{hostsPath, hostnamePath, resolvPath} }

// podMounts are the files that the pod's containers share.
func podMounts(in Input) []specs.Mount {
	access := "rw"
	if in.Container.Security.ReadonlyRootfs {
		access = "ro"
	}
	var list []specs.Mount
	add := func(destination, source string, options ...string) {
		if source != "" {
			options = append([]string{"rbind", "rprivate"}, options...)
			list = append(list, specs.Mount{Destination: destination, Type: "bind", Source: source, Options: options})
		}
	}
	add(hostsPath, in.Paths.Hosts, access)
	add(hostnamePath, in.Paths.Hostname, access)
	add(resolvPath, in.Paths.Resolv, access)
	if ContainerNamespaces(in.Pod, in.Container).IPC == NamespaceContainer {
		return append(list, specs.Mount{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"},
		})
	}
	add("/dev/shm", in.Paths.Shm, "rw", "nosuid", "nodev", "noexec")
	return list
}

func clientMounts(c ContainerConfig) []specs.Mount {
	list := make([]specs.Mount, 0, len(c.Mounts))
	for _, m := range c.Mounts {
		list = append(list, specs.Mount{
			Destination: path.Clean(m.ContainerPath), Type: "bind", Source: m.HostPath, Options: mountOptions(m),
		})
		if m.Image == nil { // of images, the store has done it
			last := &list[len(list)-1]
			last.UIDMappings, last.GIDMappings = linuxMappings(m.UIDs), linuxMappings(m.GIDs)
		}
	}
	return list
}

func mountOptions(m Mount) []string {
	options := []string{"rbind"}
	switch m.Propagation {
	case PropagationHostToContainer:
		options = append(options, "rslave")
	case PropagationBidirectional:
		options = append(options, "rshared")
	default:
		options = append(options, "rprivate")
	}
	switch {
	case m.RecursiveReadonly:
		options = append(options, "rro")
	case m.Readonly || m.Image != nil || slices.Contains(m.Options, "ro"): // CRI: all image mounts are read-only
		options = append(options, "ro")
	default:
		options = append(options, "rw")
	}
	if len(m.UIDs) > 0 && m.Image == nil {
		options = append(options, "idmap")
	}
	for _, o := range m.Options {
		if !slices.Contains(options, o) {
			options = append(options, o)
		}
	}
	return options
}

// rootPropagation opens the container's mount tree as far as its most open mount needs. Without one it stays the
// runtime's default, which lets nothing in or out.
func rootPropagation(c ContainerConfig) string {
	out := ""
	for _, m := range c.Mounts {
		switch {
		case m.Propagation == PropagationBidirectional:
			out = "rshared"
		case m.Propagation == PropagationHostToContainer && out == "":
			out = "rslave"
		}
	}
	return out
}
