package pod

import (
	"context"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/cri-server/stats"
	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/netns"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/userns"
)

// Images is what the manager needs of the image store; *imagestore.Store is one.
type Images interface {
	Resolve(ctx context.Context, refOrID string) (imagestore.Image, error)
	Prepare(ctx context.Context, key, imageID string) error
	Retain(ctx context.Context, key, imageID string) error
	Mount(ctx context.Context, key string, as snapshot.As) (*os.File, error)
	View(ctx context.Context, imageID string, as snapshot.As) (*os.File, error)
	ProbeMapping(users *os.File) error // why owners can't be mapped
	Discard(ctx context.Context, key string) error
	Usage(ctx context.Context, key string) (imagestore.Usage, error)
	Keys(ctx context.Context) ([]string, error)
}

// Network is what the manager needs of the pod network; *network.Network is one.
type Network interface {
	Setup(ctx context.Context, a network.Attachment) (network.Result, error)
	Teardown(ctx context.Context, a network.Attachment) error
	GC(ctx context.Context, validPodIDs []string) error
}

// Runtime is what the manager needs of the container runtime; [Native] makes one of a *container.Runtime.
type Runtime interface {
	Create(ctx context.Context, o container.CreateOptions) error
	Start(ctx context.Context, id string) (client.Started, error)
	Exec(ctx context.Context, id string, o container.ExecOptions) (Exec, error)
	Signal(ctx context.Context, id string, sig syscall.Signal) error
	Kill(ctx context.Context, id string) error
	Update(ctx context.Context, id string, r *specs.LinuxResources) error
	Delete(ctx context.Context, id string, o container.DeleteOptions) error
	Restore(ctx context.Context, list []container.Restored) (map[string]container.State, error)
	Attach(ctx context.Context, id string, stdin, stdout, stderr *os.File) error
	Resize(ctx context.Context, id string, width, height uint16) error
	CloseStdin(ctx context.Context, id string) error
	ReopenLog(ctx context.Context, id string) error
	OOMKilled(ctx context.Context, id string) (bool, error)
	Stats(ctx context.Context, id string) (cgroup.Stats, error)
	PID(id string) (int, error)
	Exits() <-chan container.ExitEvent
}

// Exec is a process started in a container; *container.Exec is one.
type Exec interface {
	Wait(ctx context.Context) (client.Exit, error)
	Kill(ctx context.Context) error
	Master() *os.File
	Resize(width, height uint16) error
	Close() error
}

// Cgroups is what the manager needs of cgroups for whole pods; [HostCgroups] makes one of a *cgroup.Host.
type Cgroups interface {
	Create(ctx context.Context, path string, r *specs.LinuxResources) error
	Update(ctx context.Context, path string, r *specs.LinuxResources) error
	Stats(path string) (cgroup.Stats, error)
	Remove(ctx context.Context, path string) error // one that is not there is fine
	Children(path string) ([]string, error)        // names; none if path is not there
}

// Namespaces is what the manager needs of package netns; [PinnedNamespaces] is the real one.
type Namespaces interface {
	Create(ctx context.Context, c netns.Config, users *userns.Mappings) (netns.Pins, error) // users: those of a user namespace that the others belong to, or nil
	Users(m userns.Mappings) (*os.File, error)                                              // a user namespace that nothing runs in
	Remove(ctx context.Context, dir string) error
	Counters(path string) ([]stats.Network, error)
	Dial(ctx context.Context, path string, port int32) (Conn, error) // TCP to loopback; path "" is the host's
}

// Machine is what the manager does to the host itself; [Linux] is the real one.
type Machine interface {
	Host(ctx context.Context) (spec.Host, error)
	BootID() (string, error)
	MountShm(path string, size int64) error
	Unmount(path string) error // all that is mounted there; nothing is fine
	Subtree(mount *os.File, path string) (*os.File, error)
	PauseRoot(label string) (*os.File, error) // a detached mount with the pause program in it
	Devices(ctx context.Context, list []spec.Device) ([]spec.DeviceNode, error)
	AllDevices(ctx context.Context) ([]spec.DeviceNode, error)
	PrepareSource(ctx context.Context, m spec.Mount) (string, error)
	CopyUp(root *os.File, path, target string, uid, gid int) error // who owns what the image does not have
	User(root *os.File, user string) (spec.User, error)
	Confine(ctx context.Context, profile string) error     // by an AppArmor profile, that of the spec
	Relabel(ctx context.Context, path, label string) error // SELinux, of all that is below
	Seccomp(path string) (*specs.LinuxSeccomp, error)
}
