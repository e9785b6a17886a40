package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Caps are the five sets, a bit for each capability.
type Caps struct{ Bounding, Effective, Permitted, Inheritable, Ambient uint64 }

const (
	capSysAdmin    = 21 // loads seccomp filters
	capSysResource = 24 // the one whose absence is excused: oom_score_adj, rlimits
)

// capNames are in the order of linux/capability.h.
func capNames() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
		"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
		"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
		"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
		"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
		"CHECKPOINT_RESTORE",
	}
}

// Capabilities names the bits of a set, "CAP_…", those that have a name.
func Capabilities(set uint64) []string {
	var names []string
	for i, n := range capNames() {
		if set&(1<<i) != 0 {
			names = append(names, "CAP_"+n)
		}
	}
	return names
}

// newCaps reads the sets of a process; nil means none at all. A name that does not exist is an error. One that this
// kernel does not know, or that this process can't give, is left out with a warning, as the OCI spec asks.
func newCaps(c *specs.LinuxCapabilities, grantable uint64, last int) (Caps, []string, error) {
	var out Caps
	if c == nil {
		return out, nil, nil
	}
	var missing uint64
	for _, s := range []struct {
		name string
		from []string
		to   *uint64
	}{
		{"bounding", c.Bounding, &out.Bounding},
		{"effective", c.Effective, &out.Effective},
		{"permitted", c.Permitted, &out.Permitted},
		{"inheritable", c.Inheritable, &out.Inheritable},
		{"ambient", c.Ambient, &out.Ambient},
	} {
		set, err := capSet(s.from)
		if err != nil {
			return out, nil, fmt.Errorf("process.capabilities.%s: %w", s.name, err)
		}
		can := grantable & (1<<(last+1) - 1)
		missing |= set &^ can
		*s.to = set & can
	}
	if err := out.check(); err != nil {
		return out, nil, err
	}
	var warnings []string
	// The kernel would refuse these (capabilities(7)). Other runtimes go on without them, and their own "spec" commands write
	// such sets: with them no set is inheritable since CVE-2022-29162.
	if useless := out.Ambient &^ (out.Permitted & out.Inheritable); useless != 0 {
		out.Ambient &^= useless
		warnings = append(warnings, fmt.Sprintf("process.capabilities.ambient: left out what is not both permitted and inheritable: %s",
			strings.Join(Capabilities(useless), " ")))
	}
	if missing != 0 {
		warnings = append(warnings, fmt.Sprintf("capabilities not available here, left out: %s", strings.Join(Capabilities(missing), " ")))
	}
	return out, warnings, nil
}

// check refuses sets that the kernel would, with a better reason than EPERM.
func (c Caps) check() error {
	switch {
	case c.Effective&^c.Permitted != 0:
		return errdefs.Invalid("process.capabilities.effective: %v not in permitted", Capabilities(c.Effective&^c.Permitted))
	case c.Inheritable&^c.Bounding != 0:
		return errdefs.Invalid("process.capabilities.inheritable: %v not in bounding", Capabilities(c.Inheritable&^c.Bounding))
	}
	return nil
}

func capSet(names []string) (uint64, error) {
	known := capNames()
	var set uint64
	for _, n := range names {
		i := slices.Index(known, strings.TrimPrefix(n, "CAP_"))
		if i < 0 || !strings.HasPrefix(n, "CAP_") {
			return 0, errdefs.Invalid("unknown capability %q", n)
		}
		set |= 1 << i
	}
	return set, nil
}
