package nft

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
)

// Closing a netfilter socket waits until the kernel has freed what any process has deleted from nftables in that namespace, which takes a
// grace period of RCU, 3 to 12 ms (nft_rcv_nl_event in net/netfilter/nf_tables_api.c).

// CloseConn closes a connection to netfilter without that wait.
func CloseConn(c *netlink.Conn) error {
	fd, err := descriptor(c)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return closeLater(c.Close, fd)
}

// descriptor is that of an open connection.
func descriptor(c *netlink.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = int(n) })
	}
	if err != nil {
		return 0, fmt.Errorf("find descriptor of netfilter netlink socket: %w", err)
	}
	return fd, nil
}

// closeLater calls closeAll, which closes the descriptors, while the kernel holds the sockets open, and then leaves it to the kernel to let
// go of them. Where the kernel won't hold them they are closed as usual, with the wait.
func closeLater(closeAll func() error, fds ...int) error {
	letGo, err := hold(fds)
	if err != nil {
		//lint:ignore nilerr a matter of speed alone
		return closeAll()
	}
	return errors.Join(closeAll(), letGo())
}

// hold has the kernel hold open files: in the queue of a socket that is in this queue itself. After letGo nothing else refers to that
// socket, and the kernel collects it with all that it holds: in the background since Linux 6.9, before that while letGo waits.
func hold(fds []int) (letGo func() error, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	letGo = func() error { return errors.Join(syscall.Close(pair[1]), syscall.Close(pair[0])) }
	if err := syscall.Sendmsg(pair[0], nil, syscall.UnixRights(append(fds, pair[1])...), nil, 0); err != nil {
		return nil, errors.Join(os.NewSyscallError("sendmsg", err), letGo())
	}
	return letGo, nil
}
