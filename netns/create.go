package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/cleanup"
)

// Create makes the namespaces of a config, sets the host name and sysctls inside, brings the loopback interface up and pins
// the namespaces in c.Dir. It takes about a millisecond. On an error nothing is left. A folder that holds pins already is
// refused with an error that wraps fs.ErrExist.
func Create(ctx context.Context, c Config) (pins Pins, err error) {
	if err := c.validate(); err != nil {
		return Pins{}, err
	}
	plan, err := planSysctls(c)
	if err != nil {
		return Pins{}, err
	}
	if err := ctx.Err(); err != nil {
		return Pins{}, fmt.Errorf("make namespaces in %s: %w", c.Dir, err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := makeDir(c.Dir, cu); err != nil {
		return Pins{}, err
	}
	for _, ns := range c.wanted() {
		if err := makePinFile(filepath.Join(c.Dir, ns.name)); err != nil {
			return Pins{}, err
		}
		cu.Add(func() error { return removePin(c.Dir, ns.name) })
	}
	if err := inThread(func() error { return createInThread(c, plan) }); err != nil {
		return Pins{}, fmt.Errorf("make namespaces in %s: %w", c.Dir, err)
	}
	cu.Release()
	return c.pins(), nil
}

// createInThread does the work that needs a thread of its own. It never unlocks the thread, so the runtime ends it and no
// other goroutine can find itself in the pod's namespaces.
func createInThread(c Config, plan []sysctl) error {
	if err := enter(c.wanted()); err != nil {
		return err
	}
	if c.Hostname != "" {
		if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
			return fmt.Errorf("set host name %q: %w", c.Hostname, err)
		}
	}
	if err := applySysctls(plan, c.Made.RootUID); err != nil {
		return err
	}
	if c.Net {
		if err := loopbackUp(); err != nil {
			return err
		}
	}
	for _, ns := range c.wanted() {
		target := filepath.Join(c.Dir, ns.name)
		source := fmt.Sprintf("/proc/thread-self/ns/%s", ns.name)
		if ns.made != nil {
			source = fmt.Sprintf("/proc/thread-self/fd/%d", ns.made.Fd())
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", source, target, err)
		}
	}
	return nil
}

// enter makes namespaces for this thread, and joins those that are made. A user namespace can't be joined by a thread among
// many, and need not be: the host's root may do in it what its own may.
func enter(list []namespace) error {
	flags := 0
	for _, ns := range list {
		switch {
		case ns.made == nil:
			flags |= ns.flag
		case ns.flag != unix.CLONE_NEWUSER:
			if err := unix.Setns(int(ns.made.Fd()), ns.flag); err != nil {
				return fmt.Errorf("join the %s namespace: %w", ns.name, err)
			}
		}
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return nil
}

// loopbackUp sets lo up in the namespace of the calling thread; its index is 1 in every network namespace.
func loopbackUp() (err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1, Name: "lo"}}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// makeDir makes the folder and registers the removal of what it made itself, not of parents.
func makeDir(dir string, cu *cleanup.Stack) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make folder for namespaces: %w", err)
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make folder for namespaces: %w", err)
	}
	cu.Add(func() error { return os.Remove(dir) })
	return nil
}

func makePinFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return fmt.Errorf("make pin file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make pin file %s: %w", path, err)
	}
	return nil
}
