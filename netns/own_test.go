package netns_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// The thread's own namespace is what the kernel has in /proc for it, there and in another, with and without the capability that
// asking a socket takes.
func TestOwnIsTheThreads(t *testing.T) {
	testutil.RequireRoot(t)
	path := testutil.NewNetNS(t)
	h, err := netns.Open(path)
	testutil.Must(t, err)
	defer h.Close()
	compare := func() error {
		own, err := netns.Own()
		if err != nil {
			return err
		}
		defer own.Close()
		a, err := own.Stat()
		if err != nil {
			return err
		}
		b, err := os.Stat("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		if !os.SameFile(a, b) {
			t.Errorf("own namespace is %+v, /proc shows %+v", a.Sys(), b.Sys())
		}
		if flags, err := unix.FcntlInt(own.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor flags %#x, %v: not closed on exec", flags, err)
		}
		return nil
	}
	testutil.Must(t, compare())
	testutil.Must(t, h.Do(compare))
	testutil.InNetNS(t, path, func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return err
		}
		data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &data[0]); err != nil { // this thread's alone, which ends
			return err
		}
		return compare()
	})
	testutil.Must(t, h.Do(func() error {
		if own, err := h.IsOwn(); err != nil || !own {
			t.Errorf("inside it, the namespace is said to be the thread's own: %t, %v", own, err)
		}
		return nil
	}))
	if own, err := h.IsOwn(); err != nil || own {
		t.Errorf("outside, the namespace is said to be the thread's own: %t, %v", own, err)
	}
}
