package prepare

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/netdev"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// Options is what is opened besides the plan's own.
type Options struct {
	Spec   *specs.Spec         // what the plan was made of
	Root   *os.File            // detached root mount; nil: Spec.Root.Path is used
	Mounts map[string]*os.File // prepared detached mounts, by destination
}

// Prepared is a plan with its files.
type Prepared struct {
	Files    *plan.Files // the caller adds Tasks before Program
	Terminal Terminal    // the caller may take Master out

	plan *plan.Plan
	opts *Options
	tree *rootfs.Tree
	late []lateMount

	mappings []madeMapping
	net      *os.File // network namespace that was made with the user namespace, until it is among the files to join
	moved    movedDevices
}

// Open opens everything but the control group's files. It takes over the files in the options, which it takes out of
// them one by one: those that are left after an error are the caller's. The PID namespace to join, if there is one, is
// in Files.Join with the others.
func Open(p *plan.Plan, o *Options) (_ *Prepared, err error) {
	pr := &Prepared{plan: p, opts: o, Files: &plan.Files{Mounts: make([]*os.File, len(p.Mounts)), Places: make([]rootfs.Place, len(p.Mounts))}}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(pr.Close)
	cu.Add(pr.GiveBack)
	for _, step := range []func() error{pr.user, pr.root, pr.namespaces, pr.terminal, pr.mounts, pr.devices, pr.paths, pr.ends, pr.idmaps} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	cu.Release()
	return pr, nil
}

// Close closes what the program has not taken over.
func (pr *Prepared) Close() error {
	errs := []error{pr.Files.Close(), pr.Terminal.Close()}
	for _, l := range pr.late {
		errs = append(errs, l.source.Close())
	}
	pr.late = nil
	for _, m := range pr.mappings {
		errs = append(errs, m.users.Close())
	}
	pr.mappings = nil
	if pr.net != nil {
		errs = append(errs, pr.net.Close())
		pr.net = nil
	}
	return errors.Join(errs...)
}

// Late tells whether something is opened by Program only, so that it should be called right before the start.
func (pr *Prepared) Late() bool { return len(pr.late) > 0 }

// Program writes the program down. It takes over the files.
func (pr *Prepared) Program() (*fork.Program, error) {
	for _, l := range pr.late {
		if err := l.refresh(pr.Files); err != nil {
			return nil, err
		}
		if err := pr.idmap(l.index, l.mount); err != nil {
			return nil, err
		}
	}
	return pr.plan.Program(pr.Files)
}

// TakePIDNS takes the PID namespace to join out of the files, nil if there is none: the launcher joins it before it forks.
func (pr *Prepared) TakePIDNS() *os.File {
	if !pr.plan.LauncherJoinsPID() {
		return nil
	}
	for i, ns := range pr.plan.Join {
		if plan.Flag(ns.Type) == syscall.CLONE_NEWPID {
			f := pr.Files.Join[i]
			pr.Files.Join[i] = nil
			return f
		}
	}
	return nil
}

// root takes the root mount given, or copies the one at Spec.Root.Path.
func (pr *Prepared) root() error {
	root := pr.opts.Root
	pr.opts.Root = nil
	if root == nil {
		spec := pr.opts.Spec.Root
		if spec == nil || !path.IsAbs(spec.Path) {
			return errdefs.Invalid("root.path: not an absolute path, and no root mount is given")
		}
		var err error
		if root, err = sys.OpenTree(nil, spec.Path, true); err != nil {
			return fmt.Errorf("open root %s: %w", spec.Path, err)
		}
		pr.Files.Root = root
		// A copy is a peer of its source: what happens in the container must not show up there.
		if err := sys.MountSetattr(root, sys.MountAttr{Propagation: syscall.MS_PRIVATE}, true); err != nil {
			return fmt.Errorf("make root %s private: %w", spec.Path, err)
		}
	}
	pr.Files.Root = root
	pr.tree = rootfs.NewTree(root, pr.owner())
	return nil
}

// namespaces opens those to join, and makes sure that sysctls don't reach the host's.
func (pr *Prepared) namespaces() (err error) {
	if pr.plan.HostMounts {
		if pr.Files.Host, err = sys.Openat2(nil, "/proc/thread-self/ns/mnt", syscall.O_RDONLY, 0, 0); err != nil {
			return fmt.Errorf("open own mount namespace: %w", err)
		}
	}
	for _, ns := range pr.plan.Join {
		f, err := pr.openNamespace(ns)
		if err != nil {
			return err
		}
		pr.Files.Join = append(pr.Files.Join, f)
		if ns.Type == specs.NetworkNamespace && len(pr.plan.NetDevices) > 0 {
			if err := pr.moved.take(pr.plan, ns, f); err != nil {
				return fmt.Errorf("linux.netDevices: %w", err)
			}
		}
		if ns.Type == specs.MountNamespace { // all that is mounted there is about to be replaced by the container's root
			if err := notOwn(ns, f); err != nil {
				return fmt.Errorf("linux.namespaces: %w", err)
			}
		}
		for _, s := range pr.plan.Sysctls {
			if s.Namespace != ns.Type {
				continue
			}
			if err := notOwn(ns, f); err != nil {
				return fmt.Errorf("linux.sysctl %s: %w", s.Path, err)
			}
		}
	}
	return nil
}

func (pr *Prepared) openNamespace(ns plan.Namespace) (*os.File, error) {
	f := pr.net
	if ns.Path != "" || f == nil {
		return openNamespace(ns)
	}
	pr.net = nil
	if err := netdev.LoopbackUp(f); err != nil {
		return nil, joinClose(err, f)
	}
	return f, nil
}

const nsfsMagic = 0x6e736673

func openNamespace(ns plan.Namespace) (*os.File, error) {
	if ns.Path == "" {
		return netdev.NewNamespace()
	}
	// O_NONBLOCK: whatever is at that path, opening it must not wait.
	f, err := sys.Openat2(nil, ns.Path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s namespace %s: %w", ns.Type, ns.Path, err)
	}
	magic, err := sys.FilesystemType(f)
	if err == nil && magic != nsfsMagic {
		err = errdefs.Invalid("it is not a namespace")
	}
	if err != nil {
		return nil, joinClose(fmt.Errorf("open %s namespace %s: %w", ns.Type, ns.Path, err), f)
	}
	return f, nil
}

// notOwn refuses a namespace that this process is in itself.
func notOwn(ns plan.Namespace, f *os.File) error {
	files := map[specs.LinuxNamespaceType]string{
		specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.MountNamespace: "mnt",
	}
	own, err := os.Stat("/proc/self/ns/" + files[ns.Type])
	if err != nil {
		return err
	}
	that, err := f.Stat()
	if err != nil {
		return err
	}
	if os.SameFile(own, that) {
		return errdefs.Invalid("%s namespace %s is the host's, which it would change", ns.Type, ns.Path)
	}
	return nil
}

// devices finds the folders of devices and links, making those that are missing.
func (pr *Prepared) devices() error {
	for _, d := range pr.plan.Devices {
		p, err := pr.tree.Make(path.Dir(d.Path), true)
		if err != nil {
			return fmt.Errorf("device %s: %w", d.Path, err)
		}
		pr.Files.Devices = append(pr.Files.Devices, p)
	}
	for _, l := range pr.plan.Links {
		p, err := pr.tree.Make(path.Dir(l.Path), true)
		if err != nil {
			return fmt.Errorf("link %s: %w", l.Path, err)
		}
		pr.Files.Links = append(pr.Files.Links, p)
	}
	return nil
}

// paths finds what is to be hidden or protected.
func (pr *Prepared) paths() error {
	for _, name := range pr.plan.ReadonlyPaths {
		p, err := pr.tree.Find(name)
		if err != nil {
			return fmt.Errorf("readonly path %s: %w", name, err)
		}
		pr.Files.Readonly = append(pr.Files.Readonly, p)
	}
	for _, name := range pr.plan.MaskedPaths {
		p, err := pr.tree.Find(name)
		if err != nil {
			return fmt.Errorf("masked path %s: %w", name, err)
		}
		if p.Kernel {
			// Every instance of these has the same files. If that is not true of one (a module was loaded meanwhile), the
			// start fails rather than leave it open.
			info, err := os.Stat(p.Path)
			p.Exists = err == nil
			p.Dir = p.Exists && info.IsDir()
		}
		if p.Fresh != "" && p.Path != p.Fresh {
			p.Exists = slices.ContainsFunc(pr.plan.Devices, func(d plan.Device) bool { return d.Path == p.Path })
		}
		pr.Files.Masked = append(pr.Files.Masked, p)
	}
	return nil
}

// ends takes care of the working directory, and of the terminal's place.
func (pr *Prepared) ends() (err error) {
	if pr.plan.Process.Terminal {
		if pr.Files.Console, err = pr.tree.Make("/dev/console", false); err != nil {
			return fmt.Errorf("/dev/console: %w", err)
		}
		if p := pr.Files.Console.Path; p != "/dev/console" { // CVE-2025-52565
			return errdefs.Invalid("/dev/console is a link to %s in the image", p)
		}
	}
	if pr.Files.Cwd, err = pr.tree.Find(pr.plan.Process.Cwd); err != nil {
		return fmt.Errorf("working directory %s: %w", pr.plan.Process.Cwd, err)
	}
	if pr.Files.Cwd.Exists || pr.Files.Cwd.Kernel {
		return nil // the child says if it is not a folder
	}
	// Image builders promise that a missing one is made (Dockerfile's WORKDIR).
	if pr.Files.Cwd, err = pr.tree.Make(pr.plan.Process.Cwd, true); err != nil {
		return fmt.Errorf("make working directory %s: %w", pr.plan.Process.Cwd, err)
	}
	return nil
}
