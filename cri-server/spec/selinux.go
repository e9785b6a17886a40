package spec

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Labels are the SELinux contexts of a container. Empty ones are not set.
type Labels struct {
	Process string // of its processes
	Files   string // of the file systems that are made for it, and of the files that it may use
}

// What a context is made of where the options leave it open: the names of the policy module container-selinux, which the
// distributions with SELinux have.
const (
	selinuxUser, selinuxRole, selinuxType = "system_u", "system_r", "container_t"
	selinuxFileRole, selinuxFileType      = "object_r", "container_file_t"
)

// maxSELinux bounds what the options say, in bytes. fsconfig(2) takes a context of at most 255.
const maxSELinux = 200

var (
	selinuxName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	selinuxLevel = regexp.MustCompile(`^s\d{1,2}(-s\d{1,2})?(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?$`)
)

func checkSELinux(s *SELinux) error {
	if s == nil {
		return nil
	}
	for _, part := range [][2]string{{"user", s.User}, {"role", s.Role}, {"type", s.Type}} {
		if part[1] != "" && !selinuxName.MatchString(part[1]) {
			return errdefs.Invalid("SELinux %s %.100q is not a name", part[0], part[1])
		}
	}
	if s.Level != "" && !selinuxLevel.MatchString(s.Level) {
		return errdefs.Invalid("SELinux level %.100q is not of the form s0, s0:c1,c2 or s0-s0:c1.c5", s.Level)
	}
	if n := len(s.User) + len(s.Role) + len(s.Type) + len(s.Level); n > maxSELinux {
		return errdefs.Invalid("SELinux options of %d bytes make too long a label (%d)", n, maxSELinux)
	}
	return nil
}

// SELinuxLabels returns the labels of a container that has options, or whose pod has; the zero ContainerConfig stands for the
// pod's own process. Without options, or where SELinux is off, there are none: clients send options to every node, and
// CRI's other runtimes ignore them there too. The processes of a privileged container get none, its files do.
func SELinuxLabels(h Host, podID string, p PodConfig, c ContainerConfig) Labels {
	s := selinuxOptions(p, c)
	if s == nil || !h.SELinux {
		return Labels{}
	}
	level := s.Level
	if level == "" {
		level = levelOf(podID)
	}
	user := cmp.Or(s.User, selinuxUser)
	l := Labels{Files: user + ":" + selinuxFileRole + ":" + selinuxFileType + ":" + level}
	if !c.Security.Privileged {
		l.Process = user + ":" + cmp.Or(s.Role, selinuxRole) + ":" + cmp.Or(s.Type, selinuxType) + ":" + level
	}
	return l
}

// SELinuxIgnored tells whether options are given that this machine has no use for.
func SELinuxIgnored(h Host, p PodConfig, c ContainerConfig) bool {
	return !h.SELinux && selinuxOptions(p, c) != nil
}

func selinuxOptions(p PodConfig, c ContainerConfig) *SELinux {
	for _, s := range []*SELinux{c.Security.SELinux, p.Security.SELinux} {
		if s != nil && *s != (SELinux{}) {
			return s
		}
	}
	return nil
}

// levelOf keeps pods apart that ask for no level: each has two of the 1,024 categories, which its ID leads to, so that they
// need not be recorded. Two pods have the same with a chance of one in 523,776.
func levelOf(podID string) string {
	sum := sha256.Sum256([]byte(podID))
	const categories = 1024
	a := binary.BigEndian.Uint32(sum[:]) % categories
	b := binary.BigEndian.Uint32(sum[4:]) % (categories - 1)
	if b >= a {
		b++
	}
	return fmt.Sprintf("s0:c%d,c%d", min(a, b), max(a, b))
}

// LabelledPaths lists what gets the label of a container's files: what was made for its pod and for itself, and the
// volumes that ask for it. Nothing else of the host is labelled, whatever it is mounted on (CVE-2021-43816).
func LabelledPaths(in Input) []string {
	var list []string
	for _, path := range []string{in.Paths.Hosts, in.Paths.Hostname, in.Paths.Resolv} {
		if path != "" {
			list = append(list, path)
		}
	}
	if in.Paths.Shm != "" && in.Pod.Security.Namespaces.IPC != NamespaceNode {
		list = append(list, in.Paths.Shm)
	}
	for _, v := range in.Volumes {
		list = append(list, v.Source)
	}
	for _, m := range in.Container.Mounts {
		if m.SELinuxRelabel && m.Image == nil {
			list = append(list, m.HostPath)
		}
	}
	return list
}
