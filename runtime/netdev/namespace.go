package netdev

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/berth-runtime/berth/internal/cleanup"
)

// NewNamespace makes a network namespace that lives as long as the file and what is in it. Its loopback device is up.
func NewNamespace() (_ *os.File, err error) {
	f, err := unshare()
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	if err := LoopbackUp(f); err != nil {
		return nil, err
	}
	cu.Release()
	return f, nil
}

// LoopbackUp sets the loopback device of a new namespace up.
func LoopbackUp(ns *os.File) error {
	h, err := open(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set lo up in a new network namespace: %w", err)
	}
	return nil
}

// unshare makes the namespace in a thread that ends with it. The main thread can't end: a goroutine that is on it starts
// another one meanwhile.
func unshare() (f *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			f, err = unshare()
			runtime.UnlockOSThread()
			return
		}
		if err = syscall.Unshare(syscall.CLONE_NEWNET); err == nil {
			f, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	return f, err
}

// open returns a netlink socket in a namespace, nil for this process's.
func open(ns *os.File) (*netlink.Handle, error) {
	at := netns.None()
	if ns != nil {
		at = netns.NsHandle(ns.Fd())
	}
	h, err := netlink.NewHandleAt(at, syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return h, nil
}
