package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/exitcode"
	"github.com/berth-runtime/berth/runtime/oci"
)

// execFlags describe the process, where no file does.
type execFlags struct {
	file, cwd, user, label, apparmor string
	env, caps                        []string
	gids                             []uint
	tty, noNewPrivs                  bool
	preserve                         int
	args                             []string
}

// codeExec is the exit code of an exec that could not be started, as others have it.
const codeExec = 255

func execCommand() *command {
	var o oci.ExecOptions
	var e execFlags
	c := newCommand("exec", "CONTAINER COMMAND [ARGUMENT…]", "start a process in a running container", 1, -1)
	c.forks = true
	f := c.flags
	f.SetInterspersed(false)
	f.StringVarP(&e.file, "process", "p", "", "file with the process, as in config.json; instead of the other flags about it")
	f.StringVar(&e.cwd, "cwd", "", "working directory")
	f.StringArrayVarP(&e.env, "env", "e", nil, "variable to set, NAME=VALUE")
	f.BoolVarP(&e.tty, "tty", "t", false, "give it a terminal")
	f.StringVarP(&e.user, "user", "u", "", "UID[:GID]")
	f.UintSliceVarP(&e.gids, "additional-gids", "g", nil, "supplementary groups")
	f.BoolVarP(&o.Detach, "detach", "d", false, "do not wait for it")
	f.StringVar(&e.label, "process-label", "", "SELinux label")
	f.StringVar(&e.apparmor, "apparmor", "", "AppArmor profile")
	f.BoolVar(&e.noNewPrivs, "no-new-privs", false, "set no_new_privs")
	f.StringArrayVarP(&e.caps, "cap", "c", nil, "capability to add")
	f.IntVar(&e.preserve, "preserve-fds", 0, "number of descriptors to pass on, besides stdio")
	f.StringVar(&o.Cgroup, "cgroup", "", "control group below the container's to start in")
	f.BoolVar(&o.IgnorePaused, "ignore-paused", false, "also in a paused container, where it begins when that is resumed")
	f.StringVar(&o.ConsoleSocket, "console-socket", "", "UNIX socket that the terminal's master is sent to")
	f.StringVar(&o.PidfdSocket, "pidfd-socket", "", "UNIX socket that the process's pidfd is sent to")
	f.StringVar(&o.PidFile, "pid-file", "", "file to write the process's number to")
	c.run = func(ctx context.Context, a *app, args []string) error {
		o.ID, e.args = args[0], args[1:]
		code, err := a.exec(ctx, o, &e)
		if err != nil {
			return &exitcode.Error{Code: codeExec, Err: wrapExec(err)}
		}
		if code != 0 {
			return &exitcode.Error{Code: code}
		}
		return nil
	}
	return c
}

func (a *app) exec(ctx context.Context, o oci.ExecOptions, e *execFlags) (code int, err error) {
	o.Stdio = [3]*os.File{a.stdin, a.stdout, a.stderr}
	if o.Preserve, err = preserved(0, e.preserve); err != nil {
		return 0, err
	}
	o.Process = func(s *specs.Spec) (*specs.Process, error) {
		p, err := e.process(s)
		if err == nil && p.Terminal && o.Detach && o.ConsoleSocket == "" {
			err = errdefs.Invalid("a detached process with a terminal needs --console-socket")
		}
		return p, err
	}
	child, err := a.runtime.Exec(ctx, o)
	if err != nil {
		return 0, err
	}
	if !o.Detach {
		code, err = child.Wait(ctx, a.stdin, a.stdout)
	}
	if closeErr := child.Close(); err == nil {
		err = closeErr
	}
	return code, err
}

const maxProcess = 4 << 20

// process is what to execute: from a file, or the container's own changed by flags.
func (e *execFlags) process(s *specs.Spec) (*specs.Process, error) {
	if e.file != "" {
		data, err := readFile(e.file, maxProcess)
		if err != nil {
			return nil, err
		}
		var p specs.Process
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, errdefs.Invalid("process in %s: %w", e.file, err)
		}
		if p.OOMScoreAdj == nil {
			p.OOMScoreAdj = s.Process.OOMScoreAdj
		}
		return &p, nil
	}
	if len(e.args) == 0 {
		return nil, errdefs.Invalid("process args cannot be empty")
	}
	p := *s.Process
	p.Args, p.Terminal, p.ConsoleSize = e.args, e.tty, nil
	p.Env = append(slices.Clip(p.Env), e.env...)
	p.NoNewPrivileges = p.NoNewPrivileges || e.noNewPrivs
	for _, s := range []struct{ from, to *string }{{&e.cwd, &p.Cwd}, {&e.label, &p.SelinuxLabel}, {&e.apparmor, &p.ApparmorProfile}} {
		if *s.from != "" {
			*s.to = *s.from
		}
	}
	e.addCaps(&p)
	return &p, e.setUser(&p.User)
}

// addCaps adds to those sets that give a capability to the process. The ambient set would need the inheritable one.
func (e *execFlags) addCaps(p *specs.Process) {
	if len(e.caps) == 0 {
		return
	}
	c := specs.LinuxCapabilities{}
	if p.Capabilities != nil {
		c = *p.Capabilities
	}
	for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Permitted} {
		*set = append(slices.Clip(*set), e.caps...)
	}
	p.Capabilities = &c
}

// setUser reads UID[:GID]. A number that does not fit is an error, never a name (CVE-2026-30892).
func (e *execFlags) setUser(u *specs.User) error {
	if len(e.gids) > 0 {
		u.AdditionalGids = nil
	}
	for _, g := range e.gids {
		if g > 1<<31-1 {
			return errdefs.Invalid("--additional-gids %d: larger than 2147483647", g)
		}
		u.AdditionalGids = append(u.AdditionalGids, uint32(g))
	}
	if e.user == "" {
		return nil
	}
	uid, gid, hasGID := strings.Cut(e.user, ":")
	for _, id := range []struct {
		text string
		use  bool
		to   *uint32
	}{{uid, true, &u.UID}, {gid, hasGID, &u.GID}} {
		if !id.use {
			continue
		}
		n, err := strconv.ParseUint(id.text, 10, 31)
		if err != nil {
			return errdefs.Invalid("--user %q: not UID[:GID]: %w", e.user, err)
		}
		*id.to = uint32(n)
	}
	return nil
}
