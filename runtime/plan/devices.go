package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Device is a device node, or FIFO, to make.
type Device struct {
	Path     string
	Mode     uint32 // type and permission bits
	Dev      uint64 // the kernel's dev_t
	UID, GID uint32 `json:",omitempty"`
}

// Link is a symbolic link to make in a file system of the container's own, such as /dev.
type Link struct{ Path, Target string }

const maxMinor, maxMajor = 1<<20 - 1, 1<<12 - 1

// devices plans what a container finds in a /dev made for it (runtime-spec, config-linux.md, "Default Devices"), and what
// the spec adds. A /dev that is somebody else's folder is left as it is.
func (p *Plan) devices(spec *specs.Spec, _ Facts) error {
	i := slices.IndexFunc(p.Mounts, func(m Mount) bool { return m.Destination == "/dev" })
	if i >= 0 && p.Mounts[i].FSType == "" {
		if n := len(spec.Linux.Devices); n > 0 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("linux.devices: left out, all %d: /dev is a bind mount, whose files stay as they are", n))
		}
		return nil
	}
	if i >= 0 {
		p.defaultDevices()
	}
	defaults := len(p.Devices)
	for i, d := range spec.Linux.Devices {
		dev, err := newDevice(d)
		if err != nil {
			return errdefs.Invalid("linux.devices[%d]: %w", i, err)
		}
		switch dev.Path {
		case "/dev/ptmx", "/dev/console":
			p.Warnings = append(p.Warnings, fmt.Sprintf("linux.devices[%d]: left out: %s is the container's own", i, dev.Path))
			continue // a link to its devpts, its terminal
		}
		p.Devices = slices.DeleteFunc(p.Devices, func(have Device) bool { return have.Path == dev.Path })
		p.Devices = append(p.Devices, dev)
	}
	p.bindDevices(defaults)
	return nil
}

func (p *Plan) defaultDevices() {
	for _, d := range [...]struct {
		name         string
		major, minor uint64
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		p.Devices = append(p.Devices, Device{Path: "/dev/" + d.name, Mode: syscall.S_IFCHR | 0o666, Dev: mkdev(d.major, d.minor)})
	}
	p.Links = append(p.Links,
		Link{"/dev/fd", "/proc/self/fd"},
		Link{"/dev/stdin", "/proc/self/fd/0"},
		Link{"/dev/stdout", "/proc/self/fd/1"},
		Link{"/dev/stderr", "/proc/self/fd/2"},
		Link{"/dev/core", "/proc/kcore"},
	)
	if p.devpts() >= 0 {
		p.Links = append(p.Links, Link{"/dev/ptmx", "pts/ptmx"})
	}
}

func newDevice(d specs.LinuxDevice) (Device, error) {
	out := Device{Path: path.Clean(d.Path), Mode: 0o666}
	if !strings.HasPrefix(d.Path, "/") || out.Path == "/" || strings.ContainsRune(d.Path, 0) {
		return out, errdefs.Invalid("path %q is not an absolute path of a file", d.Path)
	}
	if d.FileMode != nil {
		out.Mode = uint32(d.FileMode.Perm())
	}
	if d.UID != nil {
		out.UID = *d.UID
	}
	if d.GID != nil {
		out.GID = *d.GID
	}
	if out.UID == noID || out.GID == noID {
		return out, errdefs.Invalid("owner 4294967295 is no user or group to the kernel")
	}
	switch d.Type {
	case "c", "u":
		out.Mode |= syscall.S_IFCHR
	case "b":
		out.Mode |= syscall.S_IFBLK
	case "p":
		out.Mode |= syscall.S_IFIFO
		return out, nil
	default:
		return out, errdefs.Invalid("type %q is none of b, c, u, p", d.Type)
	}
	if d.Major < 0 || d.Major > maxMajor || d.Minor < 0 || d.Minor > maxMinor {
		return out, errdefs.Invalid("device number %d:%d is out of range", d.Major, d.Minor)
	}
	out.Dev = mkdev(uint64(d.Major), uint64(d.Minor))
	return out, nil
}

// mkdev encodes a device number as mknod(2) takes it (new_encode_dev in linux/kdev_t.h).
func mkdev(major, minor uint64) uint64 { return minor&0xff | major<<8 | minor&^0xff<<12 }
