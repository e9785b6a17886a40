package container_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/fork"
)

// refuse returns a profile that refuses calls with errno 54 and lets all others pass.
func refuse(names ...string) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: names, Action: specs.ActErrno, ErrnoRet: new(uint(54))},
	}}
}

// wantConfined looks for what a process under refuse("getcwd") says to "status" and "cwd".
func wantConfined(t *testing.T, out string, caps uint64) {
	t.Helper()
	want(t, out, "Seccomp:\t2", "Seccomp_filters:\t1")
	if !strings.Contains(out, "cwd error 54 ") {
		t.Errorf("the call was not refused:\n%s", out)
	}
	sets := statusSets(t, out)
	for _, set := range []string{"CapBnd", "CapPrm", "CapEff"} {
		if sets[set] != caps {
			t.Errorf("%s is %x, not %x", set, sets[set], caps)
		}
	}
}

// TestSeccomp has a filter in every order of loading it and giving capabilities away.
func TestSeccomp(t *testing.T) {
	n := newNode(t, build(t))
	const sysAdmin = 1 << 21
	for name, c := range map[string]struct {
		caps    []string
		uid     uint32
		ambient bool
		set     uint64
	}{
		"root":               {[]string{"CAP_CHOWN", "CAP_KILL"}, 0, false, chown | kill},
		"with CAP_SYS_ADMIN": {[]string{"CAP_CHOWN", "CAP_SYS_ADMIN"}, 0, false, chown | sysAdmin},
		"user":               {nil, 1000, false, 0},
		"ambient":            {[]string{"CAP_NET_BIND_SERVICE"}, 1000, true, netBind},
	} {
		for _, noNew := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", no new privileges"}[noNew], func(t *testing.T) {
				tr := n.newTrial(t, "status", "cwd", "loop")
				p := tr.spec.Process
				p.User.UID, p.NoNewPrivileges = c.uid, noNew
				p.Capabilities = &specs.LinuxCapabilities{Bounding: c.caps, Effective: c.caps, Permitted: c.caps}
				if c.ambient {
					p.Capabilities.Inheritable, p.Capabilities.Ambient = c.caps, c.caps
				}
				tr.spec.Linux.Seccomp = refuse("getcwd")
				testutil.Must(t, tr.start())
				wantConfined(t, tr.awaitOutput("loop"), c.set)
				out, _, err := tr.exec(nil, "status", "cwd")
				testutil.Must(t, err)
				wantConfined(t, out, c.set)
			})
		}
	}
}

// TestSeccompThatRefusesTheStart has profiles that stand in the way of what comes behind the filter.
func TestSeccompThatRefusesTheStart(t *testing.T) {
	n := newNode(t, build(t))
	for call, step := range map[string]string{"execve": "execute /bin/probe", "capset": "set capabilities"} {
		tr := n.newTrial(t, "cwd")
		tr.spec.Linux.Seccomp = refuse(call)
		var failed *fork.StepError
		if err := tr.start(); !errors.As(err, &failed) || failed.Step != step || failed.Errno != syscall.Errno(54) {
			t.Errorf("%s refused: %v, want step %q to fail", call, err, step)
		}
	}
	// With no_new_privs nothing but execve comes behind it.
	tr := n.newTrial(t, "cwd")
	tr.spec.Process.NoNewPrivileges = true
	tr.spec.Linux.Seccomp = refuse("capset", "prctl", "setresuid", "write")
	tr.spec.Process.Args = []string{"/bin/probe", "exit:7"}
	testutil.Must(t, tr.start())
	if exit := tr.wait(); exit.Code != 7 {
		t.Errorf("exit %+v", exit)
	}
	// A filter that kills is told by the signal.
	tr = n.newTrial(t, "cwd")
	tr.spec.Linux.Seccomp = refuse("getcwd")
	tr.spec.Linux.Seccomp.Syscalls[0] = specs.LinuxSyscall{Names: []string{"getcwd"}, Action: specs.ActKillProcess}
	testutil.Must(t, tr.start())
	if exit := tr.wait(); syscall.Signal(exit.Signal) != syscall.SIGSYS {
		t.Errorf("exit %+v, want SIGSYS", exit)
	}
}

func TestExecAfterRestoreIsUnderTheFilter(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "loop")
	tr.spec.Linux.Seccomp = refuse("getcwd")
	testutil.Must(t, tr.start())
	tr.awaitOutput("loop")
	n.shutdown(t)
	n.boot(t)
	_, err := n.Restore(bg(), []container.Restored{{ID: tr.id, Spec: tr.spec, CgroupPath: tr.spec.Linux.CgroupsPath, LogPath: tr.opts.LogPath}})
	testutil.Must(t, err)
	out, _, err := tr.exec(nil, "status", "cwd")
	testutil.Must(t, err)
	wantConfined(t, out, 0xa80425fb)
}
