package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/testutil"
)

// Options changes what a node gets. The zero value is a berthd with the built-in network.
type Options struct {
	LogLevel string // of berthd
	Plugins  string // a folder of CNI plugins that comes before the built ones
	RootSize string // size of a tmpfs for images and layers, as mount(8) takes it; "" keeps them on the disk
}

// NewBerth prepares a berthd below dir: root, state (a tmpfs), an empty CNI folder, an empty folder of registry hosts.
func NewBerth(dir string, o Options) (*Node, error) {
	daemon, err := Binary("berthd")
	if err != nil {
		return nil, err
	}
	n := &Node{Name: "berth", Dir: dir, Socket: filepath.Join(dir, "state", "berth.sock")}
	if err := n.prepare("root"); err != nil {
		return nil, err
	}
	if o.RootSize != "" {
		if err := n.mountTmpfs("root", "size="+o.RootSize); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "etc", "config.toml")
	n.Command = []string{daemon, "--config", config}
	return n, os.WriteFile(config, []byte(n.berthConfig(filepath.Dir(daemon), o)), 0o644)
}

func (n *Node) berthConfig(bin string, o Options) string {
	level := o.LogLevel
	if level == "" {
		level = "debug"
	}
	plugins := fmt.Sprintf("%q", filepath.Join(bin, "cni"))
	if o.Plugins != "" {
		plugins = fmt.Sprintf("%q, %s", o.Plugins, plugins)
	}
	return fmt.Sprintf(`root = %q
state = %q
listen = %q
[cni]
conf_dir = %q
bin_dirs = [%s]
default_network = "berth"
[registry]
certs_dir = %q
[cgroup]
parent = %q
[log]
level = %q
`, filepath.Join(n.Dir, "root"), filepath.Join(n.Dir, "state"), n.Socket,
		filepath.Join(n.Dir, "net.d"), plugins, n.Certs, testutil.CgroupRoot(), level)
}

// KeeperPID finds the keeper of this node by its program and its state folder; 0 when there is none.
func (n *Node) KeeperPID() (int, error) {
	pids, err := n.processes("berth-keeper")
	if err != nil || len(pids) == 0 {
		return 0, err
	}
	if len(pids) > 1 {
		return 0, fmt.Errorf("%d keepers run for %s: %v", len(pids), n.Dir, pids)
	}
	return pids[0], nil
}

// processes lists the living processes of a program whose arguments name this node's folder.
func (n *Node) processes(program string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")) // empty for zombies
		if err != nil || !strings.Contains(string(args), n.Dir+"/") {
			continue
		}
		if name, _, _ := strings.Cut(string(args), "\x00"); filepath.Base(name) == program {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
