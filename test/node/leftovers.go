package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
)

// settle is how long the kernel may take to delete the links of namespaces that have ended, which it does on its own time.
const settle = 5 * time.Second

// Leftovers lists what pods leave on a node: files of the state folder, mounts below the node's folder, links, cgroups, nft
// rules and elements, addresses, processes. A node that has no pods has none.
func (n *Node) Leftovers() ([]string, error) {
	var all []string
	// The error that Eventually adds says the same as the list.
	_ = Eventually(context.Background(), settle, func() error {
		all = nil
		for _, list := range []func() ([]string, error){n.stateFiles, n.allocations, n.mounts, links, cgroups, nftState, n.strangers} {
			lines, err := list()
			if err != nil {
				return err
			}
			all = append(all, lines...)
		}
		if len(all) > 0 {
			return errors.New("left behind")
		}
		return nil
	})
	slices.Sort(all)
	return all, nil
}

// ownFiles are those of the state folder that are there without pods.
var ownFiles = regexp.MustCompile(`^(boot_id|lock|berth\.sock|keeper/(lock|journal|cursors|keeper\.sock|keeper\.log)|cni/default-network\.json|cni/ipam/[^/]+/(allocations|lock))$`)

// keeperCgroup is the keeper's cgroup below the node's.
const keeperCgroup = "keeper"

func (n *Node) stateFiles() ([]string, error) {
	var files []string
	root := filepath.Join(n.Dir, "state")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if rel, relErr := filepath.Rel(root, path); relErr == nil && err == nil && !d.IsDir() && !ownFiles.MatchString(rel) {
			files = append(files, "state file "+rel)
		}
		return err
	})
	return files, err
}

// mounts lists the mounts below the node's folder, without its own two.
func (n *Node) mounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	var list []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) <= 4 || !strings.HasPrefix(fields[4], n.Dir+"/") {
			continue
		}
		if rel := strings.TrimPrefix(fields[4], n.Dir+"/"); rel != "state" && rel != "root" {
			list = append(list, "mount on "+fields[4])
		}
	}
	return list, err
}

// allocations lists the addresses that the built-in IPAM has given out.
func (n *Node) allocations() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(n.Dir, "state", "cni", "ipam", "*", "allocations"))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			// Lines of taken addresses begin with them. The others are the file's head and index, and freed addresses.
			first, _, _ := strings.Cut(line, " ")
			if _, err := netip.ParseAddr(first); err == nil {
				list = append(list, "address "+strings.TrimSpace(line))
			}
		}
	}
	return list, nil
}

func links() ([]string, error) {
	links, err := net.Interfaces()
	var list []string
	for _, l := range links {
		if l.Name != "lo" && l.Name != ownBridge {
			list = append(list, "link "+l.Name)
		}
	}
	return list, err
}

func cgroups() ([]string, error) {
	roots, err := cgroupRoots()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() && path != root && path != filepath.Join(root, keeperCgroup) {
				list = append(list, "cgroup "+path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// networkSets are those of berth's nft table that hold networks; all others hold pods.
var networkSets = []string{"masq4", "masq6", "links", "isolated", "internal", "private"}

// nftState lists elements of sets and maps that belong to pods, and rules of other tables than berth's own, whose rules never
// change.
func nftState() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nft chains: %w", err)
	}
	var list []string
	for _, c := range chains {
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return nil, fmt.Errorf("list rules of %s %s: %w", c.Table.Name, c.Name, err)
		}
		if len(rules) > 0 && c.Table.Name != ownTable {
			list = append(list, fmt.Sprintf("%d nft rules in %s %s", len(rules), c.Table.Name, c.Name))
		}
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list nft tables: %w", err)
	}
	for _, t := range tables {
		elements, err := podElements(conn, t)
		if err != nil {
			return nil, err
		}
		list = append(list, elements...)
	}
	return list, nil
}

func podElements(conn *nftables.Conn, t *nftables.Table) ([]string, error) {
	sets, err := conn.GetSets(t)
	if err != nil {
		return nil, fmt.Errorf("list sets of nft table %s: %w", t.Name, err)
	}
	var list []string
	for _, s := range sets {
		if slices.Contains(networkSets, s.Name) {
			continue
		}
		elements, err := conn.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("list elements of nft set %s: %w", s.Name, err)
		}
		if len(elements) > 0 {
			list = append(list, fmt.Sprintf("%d elements in nft set %s %s", len(elements), t.Name, s.Name))
		}
	}
	return list, nil
}

// strangers lists the processes whose arguments name the node's folder, without berthd and the keeper.
func (n *Node) strangers() ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !strings.Contains(string(args), n.Dir+"/") {
			continue // no process, or not ours
		}
		name, _, _ := strings.Cut(string(args), "\x00")
		switch filepath.Base(name) {
		case "berthd", "berth-keeper", "containerd":
		default:
			list = append(list, fmt.Sprintf("process %s: %q", e.Name(), args))
		}
	}
	return list, nil
}
