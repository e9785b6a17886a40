package netns

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Config says which namespaces to make and what to set inside them.
type Config struct {
	Dir           string            // folder for the pins, absolute; made with mode 0700 when missing
	Net, IPC, UTS bool              // which to make; at least one
	Hostname      string            // of the new UTS namespace, at most 64 bytes; "" keeps the host's name
	Made          Made              // those that are open already
	Sysctls       map[string]string // "net.ipv4.ip_unprivileged_port_start": "0"; each must belong to a namespace made here
}

// Made are open namespaces to pin instead of making them: a user namespace, and those that belong to it. A kind that is
// wanted and nil here is made as usual, and belongs to the caller's own. They stay the caller's.
type Made struct {
	User, Net, IPC, UTS *os.File
	RootUID             int // the host's number for root of User, who alone may set some of their sysctls
}

// Pins are the paths of pinned namespaces; "" for the ones that were not asked for.
type Pins struct {
	Net, IPC, UTS string
	User          string `json:",omitempty"`
}

// hostnameMax is __NEW_UTS_LEN of the kernel.
const hostnameMax = 64

// namespace is one kind of namespace that a pod can have to itself.
type namespace struct {
	name string // of the pin and of the file in /proc/PID/ns
	flag int    // for unshare(2), setns(2) and NS_GET_NSTYPE
	made *os.File
}

func allNamespaces() [4]namespace {
	return [4]namespace{{"net", unix.CLONE_NEWNET, nil}, {"ipc", unix.CLONE_NEWIPC, nil}, {"uts", unix.CLONE_NEWUTS, nil}, {"user", unix.CLONE_NEWUSER, nil}}
}

func (c Config) wanted() []namespace {
	var list []namespace
	made := [4]*os.File{c.Made.Net, c.Made.IPC, c.Made.UTS, c.Made.User}
	for i, want := range [4]bool{c.Net, c.IPC, c.UTS, c.Made.User != nil} {
		if want {
			ns := allNamespaces()[i]
			ns.made = made[i]
			list = append(list, ns)
		}
	}
	return list
}

func (c Config) pins() Pins {
	pin := func(want bool, name string) string {
		if !want {
			return ""
		}
		return filepath.Join(c.Dir, name)
	}
	return Pins{Net: pin(c.Net, "net"), IPC: pin(c.IPC, "ipc"), UTS: pin(c.UTS, "uts"), User: pin(c.Made.User != nil, "user")}
}

func (c Config) validate() error {
	switch {
	case !filepath.IsAbs(c.Dir):
		return errdefs.Invalid("make namespaces: folder %q is not an absolute path", c.Dir)
	case len(c.wanted()) == 0:
		return errdefs.Invalid("make namespaces in %s: none was asked for", c.Dir)
	case len(c.Hostname) > hostnameMax:
		return errdefs.Invalid("make namespaces: host name %.80q has %d bytes, the kernel takes %d", c.Hostname, len(c.Hostname), hostnameMax)
	case strings.ContainsRune(c.Hostname, 0):
		return errdefs.Invalid("make namespaces: host name %q holds a NUL byte", c.Hostname)
	case c.Hostname != "" && !c.UTS:
		return errdefs.Invalid("make namespaces: host name %q needs a UTS namespace of its own", c.Hostname)
	}
	_, err := planSysctls(c)
	return err
}
