package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// Process is what execve gets and the identity it gets it with.
type Process struct {
	Args, Env   []string
	Paths       []string // files to try, in order: one, unless the command is looked up in PATH
	Cwd         string
	UID, GID    uint32
	Groups      []uint32
	Umask       uint32
	Caps        Caps
	NoNewPrivs  bool
	Rlimits     []Rlimit
	OOMScoreAdj int
	MayNotLower bool // oom_score_adj may turn out to be lower than this machine lets it be set
	LastCap     int  // highest capability of the kernel
	Terminal    bool

	AppArmor string `json:",omitempty"` // profile from execve on
	SELinux  string `json:",omitempty"` // label from execve on

	Scheduler    *sys.SchedAttr  `json:",omitempty"`
	IOPriority   *IOPriority     `json:",omitempty"`
	Personality  *Personality    `json:",omitempty"`
	MemoryPolicy *MemoryPolicy   `json:",omitempty"`
	Seccomp      *seccomp.Filter `json:",omitempty"`
}

const (
	defaultUmask = 0o022
	defaultPath  = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	maxGroups    = 65536 // NGROUPS_MAX
	maxLookups   = 128   // folders of PATH

	noID = ^uint32(0) // "no change" to chown(2) and its like
)

// newProcess checks and reads a spec's process. In a user namespace of its own it has all capabilities to begin with.
func newProcess(p *specs.Process, facts Facts, ownUser bool) (out Process, warnings []string, err error) {
	if p == nil {
		return out, nil, errdefs.Invalid("process: missing")
	}
	if err := checkProcess(p); err != nil {
		return out, nil, err
	}
	out = Process{
		Args: p.Args, Env: p.Env, Cwd: path.Clean(p.Cwd),
		UID: p.User.UID, GID: p.User.GID, Groups: p.User.AdditionalGids, Umask: defaultUmask,
		NoNewPrivs: p.NoNewPrivileges, LastCap: facts.LastCap,
		Terminal: p.Terminal, Seccomp: facts.Seccomp,
	}
	if p.User.Umask != nil {
		out.Umask = *p.User.Umask
	}
	if out.Paths, err = candidates(p.Args[0], p.Env); err != nil {
		return out, nil, err
	}
	grantable := facts.Caps
	if ownUser {
		grantable = ^uint64(0)
	}
	caps, warnings, err := newCaps(p.Capabilities, grantable, facts.LastCap)
	if err != nil {
		return out, nil, err
	}
	limits, more, err := newRlimits(p.Rlimits, facts)
	if err != nil {
		return out, nil, err
	}
	out.Caps, out.Rlimits, warnings = caps, limits, append(warnings, more...)
	if out.Scheduler, err = newScheduler(p.Scheduler); err != nil {
		return out, nil, err
	}
	if out.IOPriority, err = newIOPriority(p.IOPriority); err != nil {
		return out, nil, err
	}
	if err := checkLabels(p, facts.LSM); err != nil {
		return out, nil, err
	}
	out.AppArmor, out.SELinux = p.ApparmorProfile, p.SelinuxLabel
	return out, append(warnings, out.setOOMScoreAdj(p, facts)...), nil
}

func (out *Process) setOOMScoreAdj(p *specs.Process, facts Facts) (warnings []string) {
	if p.OOMScoreAdj != nil {
		out.OOMScoreAdj = *p.OOMScoreAdj
	}
	out.MayNotLower = facts.Caps&(1<<capSysResource) == 0
	if out.MayNotLower && out.OOMScoreAdj < facts.OOMScoreAdj {
		return []string{fmt.Sprintf("oom_score_adj %d stays at %d: lowering it needs CAP_SYS_RESOURCE", out.OOMScoreAdj, facts.OOMScoreAdj)}
	}
	return nil
}

// container adds what the spec says of the container and the kernel keeps for each process.
func (out *Process) container(l *specs.Linux) (err error) {
	if out.Personality, err = newPersonality(l.Personality); err != nil {
		return err
	}
	out.MemoryPolicy, err = newMemoryPolicy(l.MemoryPolicy)
	return err
}

func checkProcess(p *specs.Process) error {
	if err := refuseProcess(p); err != nil {
		return err
	}
	if _, err := newAffinity(p.ExecCPUAffinity); err != nil { // means nothing to a container's first process
		return err
	}
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return errdefs.Invalid("process.args: no command")
	case !strings.HasPrefix(p.Cwd, "/"):
		return errdefs.Invalid("process.cwd: %q is not an absolute path", p.Cwd)
	case p.User.UID == noID || p.User.GID == noID:
		return errdefs.Invalid("process.user: 4294967295 is no user or group, it means \"no change\" to the kernel")
	case len(p.User.AdditionalGids) > maxGroups:
		return errdefs.Invalid("process.user.additionalGids: %d groups, the kernel takes %d", len(p.User.AdditionalGids), maxGroups)
	case slices.Contains(p.User.AdditionalGids, noID):
		return errdefs.Invalid("process.user.additionalGids[%d]: 4294967295 is no group to the kernel", slices.Index(p.User.AdditionalGids, noID))
	case p.User.Umask != nil && *p.User.Umask > 0o777:
		return errdefs.Invalid("process.user.umask: %#o", *p.User.Umask)
	case p.OOMScoreAdj != nil && (*p.OOMScoreAdj < -1000 || *p.OOMScoreAdj > 1000):
		return errdefs.Invalid("process.oomScoreAdj: %d is not between -1000 and 1000", *p.OOMScoreAdj)
	}
	for _, list := range [...]struct {
		field string
		of    []string
	}{{"args", p.Args}, {"env", p.Env}, {"cwd", []string{p.Cwd}}} {
		for i, s := range list.of {
			if strings.ContainsRune(s, 0) {
				return errdefs.Invalid("process.%s[%d]: a NUL byte in %q", list.field, i, s)
			}
		}
	}
	return nil
}

// candidates returns the files that a command may stand for: itself if there is a slash in it, else one in each folder of
// PATH. The container's PATH counts. Relative folders in it are skipped: they would depend on the working directory.
func candidates(command string, env []string) ([]string, error) {
	if strings.Contains(command, "/") {
		return []string{command}, nil
	}
	search := defaultPath
	for _, e := range env { // the last one counts, as in getenv of most shells' children
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	var list []string
	for dir := range strings.SplitSeq(search, ":") {
		if strings.HasPrefix(dir, "/") {
			list = append(list, path.Join(dir, command))
		}
	}
	if len(list) > maxLookups {
		return nil, errdefs.Invalid("process.env: PATH has %d folders, more than %d", len(list), maxLookups)
	}
	return list, nil
}
