package plan

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// process ends a program: working directory, stdio, limits, identity, execve.
func (w *writer) process(p *Process, l Launch) {
	// The working directory is entered while still root, as a folder that only root may enter is a usual one (/root), and
	// opened without magic links, so that it can't be one of our files (CVE-2024-21626).
	step := "change to working directory " + p.Cwd
	dir := w.open(step, w.root, p.Cwd, syscall.O_DIRECTORY, inRoot).Result()
	w.b.Call(step, sys.NrFchdir, dir)
	for i := range 3 {
		w.b.Call("set up stdio", sys.NrDup3, w.b.Stdio(i), fork.Int(i), fork.Imm(0))
	}
	if p.Terminal {
		w.b.Call("make the terminal the controlling one", sys.NrIoctl, fork.Int(0), flags(sys.TIOCSCTTY), fork.Imm(0))
	}
	for _, l := range p.Rlimits {
		w.b.Call(fmt.Sprintf("set %s to %d:%d", l.Name, l.Soft, l.Hard), sys.NrPrlimit,
			fork.Imm(0), flags(l.Resource), w.b.Bytes(sys.RlimitBytes(l.Soft, l.Hard)), fork.Null())
	}
	w.scheduler(p.Scheduler)
	w.ioPriority(p.IOPriority)
	w.memoryPolicy(p.MemoryPolicy)
	w.personality(p.Personality)
	w.b.Call("close files on exec", sys.NrCloseRange, fork.Imm(3), fork.Imm(1<<32-1), flags(sys.CloseRangeCloexec))
	w.preserve(l)
	w.b.Call("set umask", sys.NrUmask, fork.Imm(uint64(p.Umask)))
	w.identity(p)
	w.wait(l)
	w.exec(p)
}

func (w *writer) identity(p *Process) {
	for c := range p.LastCap + 1 {
		if p.Caps.Bounding&(1<<c) == 0 {
			w.b.Call(fmt.Sprintf("drop capability %d from the bounding set", c), sys.NrPrctl, flags(sys.CapbsetDrop), fork.Int(c), fork.Imm(0), fork.Imm(0), fork.Imm(0))
		}
	}
	w.b.Call("keep capabilities", sys.NrPrctl, flags(sys.SetKeepcaps), fork.Imm(1), fork.Imm(0), fork.Imm(0), fork.Imm(0))
	gids := make([]byte, 0, 4*len(p.Groups)+8)
	for _, g := range p.Groups {
		gids = binary.NativeEndian.AppendUint32(gids, g)
	}
	w.b.Call("set supplementary groups", sys.NrSetgroups, flags(len(p.Groups)), w.b.Bytes(append(gids, 0, 0, 0, 0)))
	gid, uid := fork.Imm(uint64(p.GID)), fork.Imm(uint64(p.UID))
	w.b.Call(fmt.Sprintf("set group %d", p.GID), sys.NrSetresgid, gid, gid, gid)
	w.b.Call(fmt.Sprintf("set user %d", p.UID), sys.NrSetresuid, uid, uid, uid)
	w.hide()
	// Without no_new_privs a filter is loaded by CAP_SYS_ADMIN (seccomp(2)), which is therefore given away behind it.
	late := uint64(0)
	if p.Seccomp != nil && !p.NoNewPrivs {
		late = 1 << capSysAdmin &^ p.Caps.Effective
	}
	w.capabilities(p.Caps, late)
	for c := range p.LastCap + 1 {
		if p.Caps.Ambient&(1<<c) != 0 {
			w.b.Call(fmt.Sprintf("raise ambient capability %d", c), sys.NrPrctl, flags(sys.CapAmbient), flags(sys.CapAmbientRaise), fork.Int(c), fork.Imm(0), fork.Imm(0))
		}
	}
	if p.NoNewPrivs {
		w.b.Call("set no_new_privs", sys.NrPrctl, flags(sys.SetNoNewPrivs), fork.Imm(1), fork.Imm(0), fork.Imm(0), fork.Imm(0))
	}
	w.seccomp(p.Seccomp)
	if late != 0 {
		w.capabilities(p.Caps, 0)
	}
}

// capabilities sets them, with more to use and to give away again.
func (w *writer) capabilities(c Caps, more uint64) {
	w.b.Call("set capabilities", sys.NrCapset, w.b.Bytes(sys.CapHeader()), w.b.Bytes(sys.CapData(c.Effective|more, c.Permitted|more, c.Inheritable)))
}

// seccomp loads a filter. It holds from here on: a profile must allow capset, if a process has no_new_privs not set and
// lacks CAP_SYS_ADMIN, execve, and for the report of a listener, or of a step that fails, write, and for a listener read. What
// fails and may not be reported ends with the process (see [fork.Start]).
func (w *writer) seccomp(f *seccomp.Filter) {
	if f == nil {
		return
	}
	prog := binary.NativeEndian.AppendUint16(nil, uint16(f.Instructions())) // struct sock_fprog of linux/filter.h
	prog = append(prog, make([]byte, 14)...)
	loaded := w.b.Call("load the seccomp filter", sys.NrSeccomp, flags(sys.SeccompSetFilter), fork.Imm(uint64(f.Flags)),
		w.b.Struct(prog, map[int]fork.Arg{8: w.b.Bytes(f.Program)}))
	if f.Listener {
		w.b.Checkpoint("hand the seccomp listener over", fork.TagListener, loaded.Result())
	}
}

// hide keeps what is in the container from tracing this process and opening its files: with another user it would be as
// dumpable as fs.suid_dumpable says, which may be 1.
func (w *writer) hide() {
	w.b.Call("stay undumpable", sys.NrPrctl, flags(sys.PrSetDumpable), fork.Imm(0), fork.Imm(0), fork.Imm(0), fork.Imm(0))
}

// exec tries the files that the command may stand for. As execvp(3) does, one that may not be executed is passed over, and
// is the error if no other is found: the second round stops at it.
func (w *writer) exec(p *Process) {
	argv, envp := w.b.Argv(p.Args), w.b.Argv(p.Env)
	try := func(file string) *fork.Call {
		return w.b.Call("execute "+file, sys.NrExecve, w.b.Str(file), argv, envp)
	}
	if strings.Contains(p.Args[0], "/") {
		try(p.Paths[0])
		return
	}
	dirs := make([]string, len(p.Paths))
	for i, file := range p.Paths {
		dirs[i] = path.Dir(file)
		try(file).Ignore(syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES)
	}
	for _, file := range p.Paths {
		try(file).Ignore(syscall.ENOENT, syscall.ENOTDIR)
	}
	// The empty name is never found: this only words the error.
	w.b.Call(fmt.Sprintf("find command %q in the container's PATH (%s)", p.Args[0], strings.Join(dirs, ":")), sys.NrExecve, w.b.Str(""), argv, envp)
}
