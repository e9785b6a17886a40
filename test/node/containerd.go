package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// NewContainerd prepares Debian's containerd and runc below dir, set up as they are meant to be run, to compare with: CRI plug-in,
// overlay snapshots, the bridge and portmap plugins of the CNI project. sandboxImage is its pause image. It returns
// exec.ErrNotFound when something is not installed.
func NewContainerd(dir, sandboxImage string) (*Node, error) {
	daemon, err := exec.LookPath("containerd")
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"runc", "containerd-shim-runc-v2", "/usr/lib/cni/bridge", "/usr/lib/cni/portmap", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	n := &Node{Name: "containerd", Dir: dir, Socket: filepath.Join(dir, "state", "containerd.sock")}
	if err := n.prepare("root", "opt"); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "etc", "config.toml")
	n.Command = []string{daemon, "--config", config}
	if err := os.WriteFile(config, []byte(n.containerdConfig(sandboxImage)), 0o644); err != nil {
		return nil, err
	}
	return n, os.WriteFile(filepath.Join(dir, "net.d", "10-bridge.conflist"), []byte(upstreamNetwork), 0o644)
}

// upstreamNetwork is the usual chain of a single node. Its range differs from berth's default, so that both can be compared
// in one network namespace.
const upstreamNetwork = `{
  "cniVersion": "1.0.0", "name": "peer",
  "plugins": [
    {"type": "bridge", "bridge": "peer0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.98.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

func (n *Node) containerdConfig(sandboxImage string) string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[ttrpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`, filepath.Join(n.Dir, "root"), filepath.Join(n.Dir, "state", "containerd"), n.Socket, n.Socket+".ttrpc", sandboxImage,
		filepath.Join(n.Dir, "net.d"), n.Certs)
}
