package prepare

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// Terminal is a pair of files, or none.
type Terminal struct{ Master, Slave *os.File }

// Close closes what is open.
func (t *Terminal) Close() error {
	var errs []error
	for _, f := range []*os.File{t.Master, t.Slave} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	*t = Terminal{}
	return errors.Join(errs...)
}

// terminal makes the container's devpts, detached, and a pty in it.
func (pr *Prepared) terminal() (err error) {
	m, ok := pr.plan.Devpts()
	if !ok {
		return nil
	}
	devpts, err := mountHere(m, pr.plan.User)
	if err != nil {
		return fmt.Errorf("make the terminal's devpts: %w", err)
	}
	for i := range pr.plan.Mounts {
		if pr.plan.Mounts[i].Destination == m.Destination && pr.plan.Mounts[i].FSType == "devpts" {
			pr.Files.Mounts[i] = devpts
		}
	}
	ptmx, err := sys.Openat2(devpts, "ptmx", syscall.O_RDWR|syscall.O_NOCTTY, 0, sys.ResolveBeneath)
	if err != nil {
		return fmt.Errorf("open a terminal: %w", err)
	}
	pr.Terminal.Master = ptmx
	uid, _ := pr.ProcessIDs()
	pr.Files.PTY, err = pr.Terminal.open(pr.opts.Spec.Process, uid)
	return err
}

// hostParam translates the option of a file system that names an owner.
func hostParam(p plan.Param, u *plan.User) (plan.Param, error) {
	if u == nil || p.Value == nil || p.Key != "uid" && p.Key != "gid" {
		return p, nil
	}
	host := u.Mappings.HostUID
	if p.Key == "gid" {
		host = u.Mappings.HostGID
	}
	id, err := strconv.ParseUint(*p.Value, 10, 32)
	if err != nil {
		return p, errdefs.Invalid("option %s: %w", p, err)
	}
	mapped, ok := host(uint32(id))
	if !ok {
		return p, errdefs.Invalid("option %s: %d is not mapped in the user namespace", p, id)
	}
	value := strconv.FormatUint(uint64(mapped), 10)
	return plan.Param{Key: p.Key, Value: &value}, nil
}

// open opens the slave of the master for a process's user, as the host knows it, and sets the size.
func (t *Terminal) open(p *specs.Process, uid uint32) (number int, err error) {
	if t.Slave, number, err = sys.OpenPTYSlave(t.Master); err != nil {
		return 0, fmt.Errorf("open a terminal: %w", err)
	}
	if err := sys.Chownat(t.Slave, "", int(uid), -1); err != nil {
		return 0, fmt.Errorf("give the terminal to user %d: %w", uid, err)
	}
	if size := p.ConsoleSize; size != nil {
		if size.Width > 65535 || size.Height > 65535 {
			return 0, errdefs.Invalid("process.consoleSize: %dx%d is too large", size.Width, size.Height)
		}
		if err := sys.SetWinsize(t.Master, uint16(size.Width), uint16(size.Height)); err != nil {
			return 0, fmt.Errorf("set the terminal's size: %w", err)
		}
	}
	return number, nil
}

// OpenTerminal makes a pty in a running container's own devpts, reached through its root. What is found there is looked at
// before it is opened: the container may have put anything in its place (CVE-2025-52565).
// It is given to a user of the host's.
func OpenTerminal(root *os.File, p *specs.Process, uid uint32) (_ Terminal, err error) {
	var t Terminal
	cu := cleanup.Make(&err)
	defer cu.Clean()
	place, err := rootfs.Open(root, "/dev/pts/ptmx")
	if err != nil {
		return t, errdefs.FailedPrecondition("the container has no terminals: %w", err)
	}
	cu.Add(place.Close)
	magic, err := sys.FilesystemType(place)
	if err != nil {
		return t, err
	}
	info, err := place.Stat()
	if err != nil {
		return t, err
	}
	if magic != sys.DevptsMagic || info.Mode().Type() != os.ModeDevice|os.ModeCharDevice {
		return t, errdefs.FailedPrecondition("the container has no terminals: its /dev/pts/ptmx is not that of a devpts")
	}
	// Non-blocking, so that Go's poller takes it and closing it ends a read.
	if t.Master, err = sys.Reopen(place, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK); err != nil {
		return t, fmt.Errorf("open a terminal: %w", err)
	}
	cu.Add(t.Close)
	if _, err = t.open(p, uid); err != nil {
		return t, err
	}
	cu.Release()
	return t, place.Close()
}
