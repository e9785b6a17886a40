package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
)

// What berthd keeps for the next pod when the last one is gone.
const (
	ownBridge = "berth0"
	ownTable  = "berth"
)

// removeInfrastructure removes what a stopped berthd leaves on purpose: its keeper, that one's cgroup, the bridge of the
// built-in network, and its nft table; and by force what a failed test has left of pods.
func (n *Node) removeInfrastructure() error {
	return errors.Join(n.endKeeper(), n.removePods(), removeCgroups(), removeBridge(), removeTable())
}

// removePods removes by force what a test that failed leaves of its pods, so that the next one does not stumble over it:
// processes in the node's cgroups, mounts below its folder, links. After a test that passes there are none.
func (n *Node) removePods() error {
	err := errors.Join(killGroups(), n.detachMounts())
	interfaces, listErr := netlink.LinkList()
	for _, l := range interfaces {
		if name := l.Attrs().Name; strings.HasPrefix(name, "veth") || strings.HasPrefix(name, "dead") {
			missing := netlink.LinkNotFoundError{}
			if delErr := netlink.LinkDel(l); delErr != nil && !errors.As(delErr, &missing) && !errors.Is(delErr, syscall.ENODEV) {
				err = errors.Join(err, fmt.Errorf("remove link %s: %w", name, delErr))
			}
		}
	}
	return errors.Join(err, listErr)
}

// killGroups kills the processes in all cgroups of this node.
func killGroups() error {
	roots, err := cgroupRoots()
	for _, root := range roots {
		err = errors.Join(err, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return err
			}
			pids, err := os.ReadFile(path)
			for pid := range strings.FieldsSeq(string(pids)) {
				if number, convErr := strconv.Atoi(pid); convErr == nil && number > 1 {
					err = errors.Join(err, syscall.Kill(number, syscall.SIGKILL))
				}
			}
			return err
		}))
	}
	return err
}

// detachMounts unmounts what lies below the node's folder, the newest first, but the node's own two.
func (n *Node) detachMounts() error {
	left, err := n.mounts()
	for _, line := range slices.Backward(left) {
		path := strings.TrimPrefix(line, "mount on ")
		if umountErr := syscall.Unmount(path, syscall.MNT_DETACH); umountErr != nil {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", path, umountErr))
		}
	}
	return err
}

// endKeeper tells the keeper to end and waits until it has.
func (n *Node) endKeeper() error {
	pid, err := n.KeeperPID()
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end the keeper: %w", err)
	}
	return Eventually(context.Background(), 10*time.Second, func() error {
		now, err := n.KeeperPID()
		if err == nil && now == pid {
			err = fmt.Errorf("keeper %d lives on after SIGTERM", pid)
		}
		return err
	})
}

// removeCgroups removes the cgroups of this node, the deepest first. Pods' are gone by now, or have been reported. The kernel
// lets go of a cgroup a moment after its last process was seen to end.
func removeCgroups() error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		err = errors.Join(err, Eventually(context.Background(), 5*time.Second, func() error { return removeTree(root) }))
	}
	return err
}

func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for _, dir := range slices.Backward(dirs) {
		if rmErr := os.Remove(dir); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove cgroup: %w", rmErr))
		}
	}
	return err
}

// cgroupRoots lists the folders that are the root of this binary's cgroups, one per hierarchy.
func cgroupRoots() ([]string, error) {
	roots, err := filepath.Glob("/sys/fs/cgroup/*" + testutil.CgroupRoot())
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat("/sys/fs/cgroup" + testutil.CgroupRoot()); err == nil {
		roots = append(roots, "/sys/fs/cgroup"+testutil.CgroupRoot())
	}
	return roots, nil
}

func removeBridge() error {
	link, err := netlink.LinkByName(ownBridge)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove bridge %s: %w", ownBridge, err)
	}
	return nil
}

func removeTable() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := conn.ListTables()
	if err != nil {
		return fmt.Errorf("list nft tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == ownTable {
			conn.DelTable(t)
		}
	}
	return conn.Flush()
}
