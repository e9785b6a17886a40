package spec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// knownCapabilities are all of linux/capability.h up to CAP_CHECKPOINT_RESTORE (Linux 5.9), by number.
func knownCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
		"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
		"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
		"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
		"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
}

// defaultCapabilities are the 14 that Docker and containerd give.
func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// CapabilitiesFromMask returns the names of the bits set in a mask such as CapBnd of /proc/PID/status.
func CapabilitiesFromMask(mask uint64) []string {
	var out []string
	for i, name := range knownCapabilities() {
		if mask&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

const allCapabilities = "CAP_ALL"

func capName(s string) string { return "CAP_" + strings.TrimPrefix(strings.ToUpper(s), "CAP_") }

func checkCapabilities(c *Capabilities) error {
	if c == nil {
		return nil
	}
	known := append(knownCapabilities(), allCapabilities)
	for _, name := range slices.Concat(c.Add, c.Drop, c.Ambient) {
		if !slices.Contains(known, capName(name)) {
			return errdefs.Invalid("unknown capability %q", name)
		}
	}
	if slices.ContainsFunc(c.Ambient, func(s string) bool { return capName(s) == allCapabilities }) {
		return errdefs.Invalid("ALL can't be asked for as ambient capability: name them")
	}
	return nil
}

// wantedCapabilities applies adds and drops in CRI's order: "ALL" first, then the named ones, drops last. Ambient ones are
// added whatever is dropped by ALL, since a client names them one by one.
func wantedCapabilities(s ContainerSecurity) (set, ambient []string) {
	if s.Privileged {
		return knownCapabilities(), nil
	}
	set = defaultCapabilities()
	if s.Capabilities == nil {
		return set, nil
	}
	names := func(list []string) (out []string, all bool) {
		for _, n := range list {
			if capName(n) == allCapabilities {
				all = true
				continue
			}
			out = append(out, capName(n))
		}
		return out, all
	}
	add, addAll := names(s.Capabilities.Add)
	drop, dropAll := names(s.Capabilities.Drop)
	ambient, _ = names(s.Capabilities.Ambient)
	if addAll {
		set = knownCapabilities()
	}
	if dropAll {
		set = nil
	}
	set = slices.Concat(set, add, ambient)
	set = slices.DeleteFunc(set, func(n string) bool { return slices.Contains(drop, n) })
	ambient = slices.DeleteFunc(ambient, func(n string) bool { return slices.Contains(drop, n) })
	return set, ambient
}

// capabilities clamps what is wanted to what the host can give, in the kernel's order. Inheritable stays empty unless
// something is ambient: an inheritable set is how CVE-2022-24769 gave non-root processes capabilities by file.
func capabilities(s ContainerSecurity, host []string) *specs.LinuxCapabilities {
	set, ambient := wantedCapabilities(s)
	order := func(list []string) []string {
		return slices.DeleteFunc(knownCapabilities(), func(n string) bool {
			return !slices.Contains(list, n) || !slices.Contains(host, n)
		})
	}
	set, ambient = order(set), order(ambient)
	return &specs.LinuxCapabilities{
		Bounding: set, Effective: set, Permitted: set, Inheritable: ambient, Ambient: ambient,
	}
}

// MissingCapabilities returns those asked for by name that the host can't give, for a warning: a container of a nested
// set-up still starts without them.
func MissingCapabilities(c ContainerConfig, host []string) []string {
	if c.Security.Capabilities == nil || c.Security.Privileged {
		return nil
	}
	var out []string
	for _, n := range slices.Concat(c.Security.Capabilities.Add, c.Security.Capabilities.Ambient) {
		if n := capName(n); n != allCapabilities && !slices.Contains(host, n) {
			out = append(out, n)
		}
	}
	return out
}
