package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Sysctl is a kernel parameter to set: the file below /proc/sys, and the value.
type Sysctl struct {
	Path, Value string
	Namespace   specs.LinuxNamespaceType // the one it belongs to, which must not be the host's
}

const maxSysctl = 4096

// sysctls takes only parameters that belong to a namespace of the container's own: any other would change the host's.
func (p *Plan) sysctls(spec *specs.Spec, _ Facts) error {
	for _, key := range slices.Sorted(maps.Keys(spec.Linux.Sysctl)) {
		value := spec.Linux.Sysctl[key]
		file, err := sysctlPath(key)
		if err != nil {
			return err
		}
		ns := sysctlNamespace(file)
		switch {
		case ns == "":
			return errdefs.Invalid("linux.sysctl: %q is not a parameter of a namespace, setting it would change the host", key)
		case !p.has(ns):
			return errdefs.Invalid("linux.sysctl: %q needs a namespace of type %q in linux.namespaces, setting it would change the host", key, ns)
		case len(value) > maxSysctl || strings.ContainsRune(value, 0):
			return errdefs.Invalid("linux.sysctl: value of %q is longer than %d bytes or has a NUL in it", key, maxSysctl)
		}
		p.Sysctls = append(p.Sysctls, Sysctl{Path: file, Value: value, Namespace: ns})
	}
	return nil
}

// sysctlPath turns a key into a path below /proc/sys as sysctl(8) does: the first separator, dot or slash, is the one that
// separates; where it is the dot, a slash stands for a dot in a name (net.ipv4.conf.eth0/100.forwarding).
func sysctlPath(key string) (string, error) {
	file := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		file = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, key)
	}
	for name := range strings.SplitSeq(file, "/") {
		if name == "" || name == "." || name == ".." || strings.IndexFunc(name, notInSysctl) >= 0 {
			return "", errdefs.Invalid("linux.sysctl: %q is not the name of a kernel parameter", key)
		}
	}
	return file, nil
}

// notInSysctl refuses everything that a parameter's name does not need ('+' and the like have been control input
// elsewhere: CVE-2022-0811).
func notInSysctl(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("_-.@:", r):
		return false
	}
	return true
}

// sysctlNamespace returns the kind of namespace that a parameter belongs to, "" for the host's own.
func sysctlNamespace(file string) specs.LinuxNamespaceType {
	switch file {
	case "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax",
		"kernel/shmmni", "kernel/shm_rmid_forced", "kernel/msg_next_id", "kernel/sem_next_id", "kernel/shm_next_id":
		return specs.IPCNamespace
	case "kernel/domainname":
		return specs.UTSNamespace
	}
	switch {
	case strings.HasPrefix(file, "net/"):
		return specs.NetworkNamespace
	case strings.HasPrefix(file, "fs/mqueue/"):
		return specs.IPCNamespace
	case strings.HasPrefix(file, "user/"): // limits of namespaces and the like, for those below
		return specs.UserNamespace
	}
	return ""
}
