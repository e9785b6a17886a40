package userns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// Kinds are the namespaces to make together with a user namespace. They belong to it.
type Kinds struct{ Net, IPC, UTS bool }

// Namespaces are open namespaces, nil for those that were not asked for.
type Namespaces struct{ User, Net, IPC, UTS *os.File }

// Close closes all of them.
func (n *Namespaces) Close() error {
	var errs []error
	for _, f := range []**os.File{&n.User, &n.Net, &n.IPC, &n.UTS} {
		if *f != nil {
			errs = append(errs, (*f).Close())
			*f = nil
		}
	}
	return errors.Join(errs...)
}

// Make makes a user namespace with the mappings, which are [Mappings.Check]ed, and the other namespaces.
func Make(m Mappings, k Kinds) (n Namespaces, err error) {
	if err := m.Check(""); err != nil {
		return n, fmt.Errorf("make user namespace: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(n.Close)
	kinds := []struct {
		want bool
		flag uint64
		name string
		to   **os.File
	}{
		{true, syscall.CLONE_NEWUSER, "user", &n.User},
		{k.Net, syscall.CLONE_NEWNET, "net", &n.Net},
		{k.IPC, syscall.CLONE_NEWIPC, "ipc", &n.IPC},
		{k.UTS, syscall.CLONE_NEWUTS, "uts", &n.UTS},
	}
	var flags uint64
	for _, kind := range kinds {
		if kind.want {
			flags |= kind.flag
		}
	}
	err = hold(nil, flags, func(pid int) error {
		if err := write(pid, m); err != nil {
			return err
		}
		for _, kind := range kinds {
			if !kind.want {
				continue
			}
			if *kind.to, err = os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind.name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return n, fmt.Errorf("make user namespace: %w", err)
	}
	cu.Release()
	return n, nil
}

func write(pid int, m Mappings) error {
	for name, list := range map[string][]Mapping{"uid_map": m.UIDs, "gid_map": m.GIDs} {
		// One write: the kernel takes no second.
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, name), text(list), 0); err != nil {
			return fmt.Errorf("write map %q: %w", text(list), err)
		}
	}
	return nil
}

// Read returns the mappings of an open user namespace, as seen from the caller's own.
func Read(ns *os.File) (m Mappings, err error) {
	err = hold(ns, 0, func(pid int) (err error) {
		m, err = Of(pid)
		return err
	})
	if err != nil {
		return m, fmt.Errorf("read the mappings of user namespace %s: %w", ns.Name(), err)
	}
	return m, nil
}

// Of returns the mappings of a process's user namespace, as seen from the caller's own. Reading them takes no child.
func Of(pid int) (m Mappings, err error) {
	if m.UIDs, err = read(pid, "uid_map"); err != nil {
		return m, err
	}
	m.GIDs, err = read(pid, "gid_map")
	return m, err
}

func read(pid int, name string) (list []Mapping, err error) {
	const longest = maxMappings * 40 // bytes: the kernel pads numbers to 10 digits
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return nil, err
	}
	return parse(data)
}

// lastStep is the one that a holder ends with.
const lastStep = "end"

// hold calls use with a process in new namespaces, or in the user namespace ns, that does nothing. It is gone afterwards,
// and never outlives this process: it reads from a pipe whose other end only this process has.
func hold(ns *os.File, flags uint64, use func(pid int) error) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	gate, open, err := sys.BlockingPipe()
	if err != nil {
		return err
	}
	closeGate := sync.OnceValue(open.Close)
	cu.Add(closeGate)
	program, err := holder(ns, gate)
	if err != nil {
		return err
	}
	cu.Add(program.Close)
	ready, tell, err := sys.BlockingPipe()
	if err != nil {
		return err
	}
	cu.Add(ready.Close)
	closeTell := sync.OnceValue(tell.Close)
	cu.Add(closeTell)
	var useErr error
	_, err = fork.Start(program, fork.Options{
		Flags: flags, Stdio: [3]*os.File{1: tell},
		Forked: func(c fork.Child) error {
			if err := closeTell(); err != nil { // so that the child's end would be seen
				return err
			}
			if n, err := ready.Read(make([]byte, 1)); n == 1 {
				useErr = use(c.PID)
			} else if err != io.EOF { // at its end, the child has reported why
				useErr = err
			}
			return closeGate()
		},
	})
	if step := (*fork.StepError)(nil); errors.As(err, &step) && step.Step == lastStep {
		err = nil
	}
	cu.Release()
	return errors.Join(useErr, err, closeGate(), program.Close(), ready.Close(), closeTell())
}

// holder returns a program that enters ns, says so, waits, and fails at its last step. It takes over gate.
func holder(ns, gate *os.File) (*fork.Program, error) {
	b := fork.NewBuilder()
	wait := b.File(gate)
	if ns != nil {
		dup, err := sys.Dup(ns)
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.Call("enter the user namespace", sys.NrSetns, b.File(dup), fork.Imm(syscall.CLONE_NEWUSER))
	}
	b.Call("tell", sys.NrWrite, b.Stdio(1), b.Str("."), fork.Imm(1))
	b.Call("wait", sys.NrRead, wait, b.Bytes(make([]byte, 8)), fork.Imm(1))
	b.Call(lastStep, sys.NrExecve, b.Str(""), b.Argv(nil), b.Argv(nil))
	p, err := b.Program()
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return p, nil
}
