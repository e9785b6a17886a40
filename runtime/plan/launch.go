package plan

import (
	"fmt"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// TagHooks is the checkpoint at which the mount namespace holds the container's mounts, below [Launch.HookRoot], and the
// host's: prestart, createRuntime and createContainer hooks run there (runtime-spec, config.md, "POSIX-platform Hooks").
const TagHooks fork.Tag = 1

// Launch is what the launcher decides about a program. The zero value is right for a process that starts at once, as the
// keeper's do. Files in it go to the program, as those in Files do.
type Launch struct {
	HookRoot     string     // where on the host the root is attached while hooks run; "": there are no such hooks
	NoPivot      bool       // the root covers the host's instead of replacing it, for a host that runs from an initramfs
	NoNewKeyring bool       // keep the launcher's session keyring
	Preserve     []*os.File // descriptors from 3 on, without a gap, which the process keeps

	Start, Tell *os.File // FIFOs, open for both directions: wait for a byte before execve, and tell of its failure; nil: neither
}

// attachRoot makes the root's mount the top of the mount namespace, or shows it to hooks first.
func (w *writer) attachRoot(l Launch) {
	if l.HookRoot == "" {
		w.coverRoot()
		w.leaveHost(l)
		return
	}
	// The path is the host's, where the bundle is; the container's root is not in it yet.
	how := sys.OpenHow(sys.OPath|syscall.O_DIRECTORY, 0, 0)
	step := "show the root to hooks at " + l.HookRoot
	target := w.b.Call(step+": open it", sys.NrOpenat2, fork.Int(sys.AtFdcwd), w.b.Str(l.HookRoot), w.b.Bytes(how), fork.Imm(uint64(len(how)))).Result()
	w.attach(step, w.root, target)
}

// hooks lets the launcher run hooks, and goes on to the root. Up to here all paths were resolved in the root's mount, below
// which the host's mounts can't be reached, but they were still there.
func (w *writer) hooks(l Launch) {
	if l.HookRoot == "" {
		return
	}
	w.b.Checkpoint("run hooks", TagHooks, fork.Imm(0))
	if l.NoPivot {
		w.coverRoot()
	}
	w.leaveHost(l)
}

func (w *writer) coverRoot() {
	w.b.Call("attach the root", sys.NrMoveMount, w.root, w.b.Str(""), fork.Int(sys.AtFdcwd), w.b.Str("/"), flags(sys.MoveMountEmptyFrom))
}

func (w *writer) leaveHost(l Launch) {
	w.b.Call("enter the root", sys.NrFchdir, w.root)
	if l.NoPivot {
		w.b.Call("change the root", sys.NrChroot, w.b.Str("."))
	} else {
		w.b.Call("pivot to the root", sys.NrPivotRoot, w.b.Str("."), w.b.Str("."))
		w.b.Call("detach the host's mounts", sys.NrUmount, w.b.Str("."), flags(syscall.MNT_DETACH))
	}
	w.b.Call("change to the root", sys.NrChdir, w.b.Str("/"))
}

// preserve undoes close-on-exec for what the process keeps.
func (w *writer) preserve(l Launch) {
	for i, f := range l.Preserve {
		w.b.Call(fmt.Sprintf("keep descriptor %d", 3+i), sys.NrFcntl, w.b.File(f), fork.Imm(syscall.F_SETFD), fork.Imm(0))
	}
}

// wait is the last step before execve.
func (w *writer) wait(l Launch) {
	if l.Start == nil {
		return
	}
	w.b.Release("wait to be started", w.b.File(l.Tell))
	w.b.Call("wait to be started", sys.NrRead, w.b.File(l.Start), w.b.Bytes(make([]byte, 8)), fork.Imm(1))
}
