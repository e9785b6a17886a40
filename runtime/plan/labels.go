package plan

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/lsm"
)

// checkLabels refuses to run unconfined what is to be confined.
func checkLabels(p *specs.Process, have lsm.Modules) error {
	if p.ApparmorProfile != "" {
		if !have.AppArmor {
			return errdefs.NotSupported("process.apparmorProfile: %q, but AppArmor is not enabled in this kernel", p.ApparmorProfile)
		}
		if err := lsm.CheckProfile(p.ApparmorProfile); err != nil {
			return fmt.Errorf("process.apparmorProfile: %w", err)
		}
	}
	return checkLabel("process.selinuxLabel", p.SelinuxLabel, maxLabel, have)
}

const (
	maxLabel      = 4095 // the kernel takes less than a page
	maxMountLabel = 255  // as all that fsconfig(2) takes
)

func checkLabel(field, label string, longest int, have lsm.Modules) error {
	switch {
	case label == "":
		return nil
	case !have.SELinux:
		return errdefs.NotSupported("%s: %q, but SELinux is not enabled in this kernel", field, label)
	case len(label) > longest:
		return errdefs.Invalid("%s: %d bytes, more than %d", field, len(label), longest)
	case strings.Count(label, ":") < 2 || strings.ContainsFunc(label, notInLabel):
		return errdefs.Invalid("%s: %.100q is not user:role:type[:level]", field, label)
	}
	return nil
}

func notInLabel(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' }

// label takes the context of file systems that are made for the container.
func (p *Plan) label(spec *specs.Spec, facts Facts) error {
	p.MountLabel = spec.Linux.MountLabel
	return checkLabel("linux.mountLabel", p.MountLabel, maxMountLabel, facts.LSM)
}

// labels says under which profile and label execve shall put the process. The files are the process's own, in a procfs
// that the child has made (CVE-2019-16884, CVE-2025-52881: elsewhere the write went to a file that was not the kernel's,
// and the container ran unconfined). AppArmor has had a file of its own since Linux 5.8.
//
// The keyring that is made next gets the process's label, which may otherwise not be let near its own keys. execve takes that
// setting back (selinux_bprm_creds_for_exec in security/selinux/hooks.c).
func (w *writer) labels(p *Process, l Launch) {
	if p.AppArmor != "" {
		w.writeProc("apply AppArmor profile "+p.AppArmor, "thread-self/attr/apparmor/exec", "exec "+p.AppArmor)
	}
	if p.SELinux != "" {
		w.writeProc("apply SELinux label "+p.SELinux, "thread-self/attr/exec", p.SELinux)
		if !l.NoNewKeyring {
			w.writeProc("apply SELinux label "+p.SELinux+" to keys", "thread-self/attr/keycreate", p.SELinux)
		}
	}
}

// setContext labels all files of a file system that the child makes, unless its options do. Those of which there is one
// instance for all, or whose files have labels of their own, take no such option.
func (m *Mount) setContext(label string) {
	switch m.FSType {
	case "", "proc", "sysfs", "mqueue", "cgroup", "cgroup2":
		return
	}
	if label != "" && !slices.ContainsFunc(m.Params, func(p Param) bool { return p.Key == "context" }) {
		m.Params = append(m.Params, Param{"context", &label})
	}
}

// relabel labels the root folder of a message queue file system, which exists before it is mounted and so takes no context.
func (w *writer) relabel(step string, mount fork.Arg, label string) {
	dir := w.inside(step, mount, ".", syscall.O_RDONLY|syscall.O_DIRECTORY).Result()
	w.b.Call(step, sys.NrFsetxattr, dir, w.b.Str("security.selinux"), w.b.Str(label), fork.Int(len(label)+1), fork.Imm(0))
}
