package pod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// namespacesOf plans the namespaces of a pod. A host name is the network's business: who is in the host's network goes by
// the host's name.
func (m *Manager) namespacesOf(r podRecord) (netns.Config, error) {
	sysctls, err := spec.PodSysctls(r.Config)
	if err != nil {
		return netns.Config{}, err
	}
	ns := r.Config.Security.Namespaces
	own := ns.Network != spec.NamespaceNode
	cfg := netns.Config{
		Dir: m.pinsDir(r.ID), Net: own, UTS: own, IPC: ns.IPC != spec.NamespaceNode, Sysctls: sysctls,
	}
	if own {
		cfg.Hostname = r.Hostname
	}
	if len(sysctls) > 0 && !cfg.Net && !cfg.IPC {
		return netns.Config{}, errdefs.Invalid("sysctls are asked for, but the pod shares all namespaces with the host")
	}
	return cfg, nil
}

func attachment(r podRecord) network.Attachment {
	a := network.Attachment{
		PodID: r.ID, Name: r.Config.Name, Namespace: r.Config.Namespace, UID: r.Config.UID, Netns: r.Pins.Net,
		Annotations: r.Config.Annotations, CgroupParent: r.Cgroup,
	}
	if d := r.Config.DNS; d != nil {
		a.DNS = &network.DNS{Servers: d.Servers, Searches: d.Searches, Options: d.Options}
	}
	names := map[spec.Protocol]string{spec.TCP: "tcp", spec.UDP: "udp", spec.SCTP: "sctp"}
	for _, p := range r.Config.Ports {
		if p.HostPort == 0 {
			continue
		}
		a.Ports = append(a.Ports, network.PortMapping{
			Protocol: names[p.Protocol], HostPort: p.HostPort, ContainerPort: p.ContainerPort, HostIP: p.HostIP,
		})
	}
	return a
}

// Names of the files that a pod's containers share.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
)

// The host's files that pods start from.
const (
	hostHosts          = "/etc/hosts"
	hostResolv         = "/etc/resolv.conf"
	hostResolvUpstream = "/run/systemd/resolve/resolv.conf" // what systemd-resolved itself asks
)

// maxEtcFile bounds what is copied of the host's files.
const maxEtcFile = 1 << 20

// writeNames makes what is known before the network is up.
func (m *Manager) writeNames(r podRecord) error {
	if err := os.MkdirAll(m.volumesOf(r.ID), 0o700); err != nil {
		return fmt.Errorf("make the pod's files: %w", err)
	}
	if err := m.writePodFile(r, hostnameFile, []byte(r.Hostname+"\n")); err != nil {
		return err
	}
	resolv, err := resolvConf(r.Config)
	if err != nil {
		return err
	}
	return m.writePodFile(r, resolvFile, resolv)
}

// writeHosts makes /etc/hosts, which has the pod's addresses in it.
func (m *Manager) writeHosts(r podRecord) error {
	if r.Config.Security.Namespaces.Network != spec.NamespaceNode {
		return m.writePodFile(r, hostsFile, spec.HostsFile(r.Hostname, r.IPs))
	}
	hosts, err := readHostFile(hostHosts)
	if err != nil {
		return err
	}
	return m.writePodFile(r, hostsFile, hosts)
}

// writePodFile makes a file that containers see as theirs. Some of them write to it, so it is not replaced but written.
func (m *Manager) writePodFile(r podRecord, name string, data []byte) error {
	if err := os.WriteFile(m.podFile(r.ID, name), data, 0o644); err != nil {
		return fmt.Errorf("make the pod's %s: %w", name, err)
	}
	uid, gid := spec.HostRoot(r.Config)
	if err := os.Chown(m.podFile(r.ID, name), uid, gid); err != nil {
		return fmt.Errorf("give the pod its %s: %w", name, err)
	}
	return nil
}

// resolvConf is what the client wants, else the host's. Where the host's name server is on its loopback, which a pod with
// a network of its own can't reach, it is the list of servers behind that one.
func resolvConf(c spec.PodConfig) ([]byte, error) {
	if c.DNS != nil && len(c.DNS.Servers)+len(c.DNS.Searches)+len(c.DNS.Options) > 0 {
		return spec.ResolvFile(*c.DNS), nil
	}
	data, err := readHostFile(hostResolv)
	if err != nil || c.Security.Namespaces.Network == spec.NamespaceNode || !spec.OnlyLoopbackDNS(data) {
		return data, err
	}
	if upstream, err := readHostFile(hostResolvUpstream); err == nil && len(upstream) > 0 {
		return upstream, nil
	}
	return data, nil
}

// readHostFile returns a bounded file of the host; one that is missing is empty.
func readHostFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("copy the host's file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEtcFile))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("copy the host's file: %w", err)
	}
	return data, nil
}
