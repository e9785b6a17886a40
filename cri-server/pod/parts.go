package pod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/cri-server/stats"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/netns"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/userns"
)

// Native is berth's own runtime as the manager sees it.
func Native(r *container.Runtime) Runtime { return nativeRuntime{r} }

type nativeRuntime struct{ *container.Runtime }

func (r nativeRuntime) Exec(ctx context.Context, id string, o container.ExecOptions) (Exec, error) {
	e, err := r.Runtime.Exec(ctx, id, o)
	if err != nil {
		return nil, err // not e: a nil pointer in an interface is not nil
	}
	return e, nil
}

// HostCgroups are the cgroups of this host as the manager sees them.
func HostCgroups(h *cgroup.Host) Cgroups { return hostCgroups{h} }

type hostCgroups struct{ host *cgroup.Host }

func (h hostCgroups) Create(ctx context.Context, path string, r *specs.LinuxResources) error {
	_, err := h.host.Create(ctx, path, r)
	return err
}

func (h hostCgroups) Update(ctx context.Context, path string, r *specs.LinuxResources) error {
	g, err := h.host.Open(path)
	if err != nil {
		return err
	}
	return g.Update(ctx, r)
}

func (h hostCgroups) Stats(path string) (cgroup.Stats, error) {
	g, err := h.host.Open(path)
	if err != nil {
		return cgroup.Stats{}, err
	}
	return g.Stats()
}

func (h hostCgroups) Remove(ctx context.Context, path string) error {
	g, err := h.host.Open(path)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(g.Kill(ctx), g.Remove(ctx))
}

func (h hostCgroups) Children(path string) ([]string, error) {
	seen := map[string]bool{}
	for _, hi := range h.host.Hierarchies() {
		names, err := childrenIn(hi.Mount, path)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			seen[n] = true
		}
	}
	list := make([]string, 0, len(seen))
	for n := range seen {
		list = append(list, n)
	}
	return list, nil
}

func childrenIn(mount, path string) (names []string, err error) {
	root, err := sys.OpenDir(mount)
	if err != nil {
		return nil, fmt.Errorf("list cgroups: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	dir, err := root.OpenDirBeneath(path[1:])
	if errors.Is(err, notExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list cgroups below %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	entries, err := dir.Entries()
	if err != nil {
		return nil, fmt.Errorf("list cgroups below %s: %w", path, err)
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// PinnedNamespaces are the namespaces of package netns as the manager sees them.
func PinnedNamespaces() Namespaces { return pinnedNamespaces{} }

type pinnedNamespaces struct{}

func (pinnedNamespaces) Create(ctx context.Context, c netns.Config, users *userns.Mappings) (_ netns.Pins, err error) {
	if users == nil {
		return netns.Create(ctx, c)
	}
	made, err := userns.Make(*users, userns.Kinds{Net: c.Net, IPC: c.IPC, UTS: c.UTS})
	if err != nil {
		return netns.Pins{}, err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	root, _ := users.HostUID(0)
	c.Made = netns.Made{User: made.User, Net: made.Net, IPC: made.IPC, UTS: made.UTS, RootUID: int(root)}
	return netns.Create(ctx, c)
}

func (pinnedNamespaces) Users(m userns.Mappings) (*os.File, error) {
	made, err := userns.Make(m, userns.Kinds{})
	return made.User, err
}

func (pinnedNamespaces) Remove(ctx context.Context, dir string) error { return netns.Remove(ctx, dir) }

// Counters returns those of all interfaces but loopback, the pod's main one first.
func (pinnedNamespaces) Counters(path string) (list []stats.Network, err error) {
	h, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	links, err := h.Netlink().LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 || a.Statistics == nil {
			continue
		}
		s := a.Statistics
		n := stats.Network{
			Name: a.Name, RxBytes: s.RxBytes, RxPackets: s.RxPackets, RxErrors: s.RxErrors, RxDropped: s.RxDropped,
			TxBytes: s.TxBytes, TxPackets: s.TxPackets, TxErrors: s.TxErrors, TxDropped: s.TxDropped,
		}
		if a.Name == network.IfName {
			list = append([]stats.Network{n}, list...)
			continue
		}
		list = append(list, n)
	}
	return list, nil
}

// dialTime is how long a connection to loopback may take.
const dialTime = 10 * time.Second

// Dial tries IPv4 and then IPv6, one after the other and by address: what would race them uses other threads, which are
// not in the namespace.
func (pinnedNamespaces) Dial(ctx context.Context, path string, port int32) (conn Conn, err error) {
	dial := func() error {
		conn, err = dialLoopback(ctx, port)
		return err
	}
	if path == "" {
		return conn, dial()
	}
	h, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	err = errors.Join(h.Do(dial), h.Close())
	if err != nil && conn != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, err
}

func dialLoopback(ctx context.Context, port int32) (Conn, error) {
	d := net.Dialer{Timeout: dialTime}
	var errs []error
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			return tcp, nil
		}
		errs = append(errs, errdefs.Bug("%T is no TCP connection", c), c.Close())
	}
	return nil, errdefs.Unavailable("nothing answers there: %w", errors.Join(errs...))
}
