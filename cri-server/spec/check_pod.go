package spec

import (
	"net/netip"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// maxHostname is the kernel's __NEW_UTS_LEN.
const maxHostname = 64

// CheckPod says what in a pod's configuration is wrong (errdefs.ErrInvalid) or can't be done (errdefs.ErrNotSupported).
func CheckPod(p PodConfig) error {
	for what, s := range map[string]string{"pod name": p.Name, "pod namespace": p.Namespace, "pod uid": p.UID} {
		if err := checkText(what, s, maxText); err != nil {
			return err
		}
	}
	if p.Name == "" {
		return errdefs.Invalid("the pod's metadata has no name")
	}
	checks := []func(PodConfig) error{checkHostname, checkDNS, checkPorts, checkPodNamespaces, checkPodSecurity, checkPodPaths}
	for _, check := range checks {
		if err := check(p); err != nil {
			return err
		}
	}
	_, err := PodSysctls(p)
	return err
}

// checkHostname accepts what is safe in /etc/hosts and in HOSTNAME: kubelet's are DNS names, others' nearly so.
func checkHostname(p PodConfig) error {
	if len(p.Hostname) > maxHostname {
		return errdefs.Invalid("hostname %q is longer than %d bytes", p.Hostname, maxHostname)
	}
	for _, r := range p.Hostname {
		ok := r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !ok {
			return errdefs.Invalid("hostname %q has %q in it: letters, digits, '-', '_' and '.' are allowed", p.Hostname, r)
		}
	}
	return nil
}

func checkDNS(p PodConfig) error {
	if p.DNS == nil {
		return nil
	}
	for _, s := range p.DNS.Servers {
		if _, err := netip.ParseAddr(s); err != nil {
			return errdefs.Invalid("DNS server %q is not an IP address", s)
		}
	}
	for _, s := range append(append([]string(nil), p.DNS.Searches...), p.DNS.Options...) {
		if err := checkText("DNS search or option", s, maxText); err != nil {
			return err
		}
		if s == "" || strings.ContainsAny(s, " \t") {
			return errdefs.Invalid("DNS search or option %q is empty or has a blank in it", s)
		}
	}
	return nil
}

func checkPorts(p PodConfig) error {
	for _, m := range p.Ports {
		if m.HostPort == 0 {
			continue
		}
		if m.HostPort < 0 || m.HostPort > 65535 || m.ContainerPort < 1 || m.ContainerPort > 65535 {
			return errdefs.Invalid("port mapping %d:%d is outside 1-65535", m.HostPort, m.ContainerPort)
		}
		if m.Protocol < TCP || m.Protocol > SCTP {
			return errdefs.Invalid("port mapping %d:%d has the unknown protocol %d", m.HostPort, m.ContainerPort, m.Protocol)
		}
		if m.HostIP == "" {
			continue
		}
		if _, err := netip.ParseAddr(m.HostIP); err != nil {
			return errdefs.Invalid("port mapping %d:%d: host IP %q is not an IP address", m.HostPort, m.ContainerPort, m.HostIP)
		}
	}
	return nil
}

func checkPodNamespaces(p PodConfig) error {
	ns := p.Security.Namespaces
	if ns.Network != NamespacePod && ns.Network != NamespaceNode {
		return errdefs.Invalid("network namespace mode %d: only POD and NODE exist", ns.Network)
	}
	if ns.PID == NamespaceTarget || ns.IPC == NamespaceTarget {
		return errdefs.Invalid("namespace mode TARGET is for containers, not for pods")
	}
	return checkUsers(ns)
}

// checkPodSecurity looks at what CRI would have applied to a pod's own process. berth has none, or one that runs nothing
// of the user's, so RuntimeDefault (the kubelet's constant here) asks for nothing; a profile by name does.
func checkPodSecurity(p PodConfig) error {
	if err := checkSeccomp(p.Security.Seccomp); err != nil {
		return err
	}
	if s := p.Security.AppArmor; s != nil && s.Type == ProfileLocalhost {
		return errdefs.NotSupported("pod %s asks for AppArmor profile %q: berth can't confine by AppArmor yet", p.Name, s.Ref)
	}
	return checkSELinux(p.Security.SELinux)
}

func checkPodPaths(p PodConfig) error {
	if p.LogDirectory != "" {
		if err := checkPath("log directory", p.LogDirectory); err != nil {
			return err
		}
	}
	if p.CgroupParent == "" {
		return nil
	}
	return checkCgroupParent(p.CgroupParent)
}
