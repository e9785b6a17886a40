package netns

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	sysctlsMax     = 256  // in one pod; Kubernetes sets no bound
	sysctlKeyMax   = 256  // bytes
	sysctlValueMax = 4096 // bytes; the kernel takes one page
)

// sysctl is one file under /proc/sys and what to write to it.
type sysctl struct {
	key, path, value string
}

// planSysctls turns the sysctls of a config into writes, in the order of their keys. A key that the kernel does not keep
// per namespace would change the host, so it is refused, as is one whose namespace is not made by this config.
func planSysctls(c Config) ([]sysctl, error) {
	if len(c.Sysctls) > sysctlsMax {
		return nil, errdefs.Invalid("plan sysctls: %d were given, at most %d are taken", len(c.Sysctls), sysctlsMax)
	}
	plan := make([]sysctl, 0, len(c.Sysctls))
	for key, value := range c.Sysctls {
		if err := checkSysctl(key, value); err != nil {
			return nil, err
		}
		needs, made := sysctlNamespace(c, key)
		if needs == "" {
			return nil, errdefs.Invalid("sysctl %s: it belongs to the whole node, not to a pod; set it on the node", key)
		}
		if !made {
			return nil, errdefs.Invalid("sysctl %s: the pod shares the %s namespace of the host, so it can't be set", key, needs)
		}
		plan = append(plan, sysctl{key: key, path: strings.ReplaceAll(key, ".", "/"), value: value})
	}
	slices.SortFunc(plan, func(a, b sysctl) int { return strings.Compare(a.key, b.key) })
	return plan, nil
}

// checkSysctl refuses keys that could name anything but one file below /proc/sys, and values that would end in a second
// write. Other runtimes once passed a key with '+' on to a tool that read it as a separator (CVE-2022-0811).
func checkSysctl(key, value string) error {
	if key == "" || len(key) > sysctlKeyMax {
		return errdefs.Invalid("sysctl %.80q: the key must have 1 to %d bytes", key, sysctlKeyMax)
	}
	for part := range strings.SplitSeq(key, ".") {
		if part == "" || strings.IndexFunc(part, notSysctlRune) >= 0 {
			return errdefs.Invalid("sysctl %q: the key must be words of letters, digits, '_' and '-' joined by single dots", key)
		}
	}
	if len(value) > sysctlValueMax || strings.ContainsAny(value, "\x00\n") {
		return errdefs.Invalid("sysctl %s: the value must be one line of at most %d bytes", key, sysctlValueMax)
	}
	return nil
}

func notSysctlRune(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
}

// sysctlNamespace names the namespace that the kernel keeps a key in, and whether the config makes one. The lists are
// those of ipc/ipc_sysctl.c, ipc/mq_sysctl.c and kernel/utsname_sysctl.c; kernel.hostname is left to Config.Hostname.
func sysctlNamespace(c Config, key string) (name string, made bool) {
	switch {
	case strings.HasPrefix(key, "net."):
		return "net", c.Net
	case strings.HasPrefix(key, "fs.mqueue."), strings.HasPrefix(key, "kernel.shm"),
		strings.HasPrefix(key, "kernel.msg"), key == "kernel.sem", key == "kernel.sem_next_id", key == "kernel.auto_msgmni":
		return "ipc", c.IPC
	case key == "kernel.domainname":
		return "uts", c.UTS
	}
	return "", false
}

// applySysctls writes the plan in the namespaces of the calling thread. Every path is resolved below one descriptor of
// /proc/sys, through no symbolic link and no other mount.
func applySysctls(plan []sysctl, root int) error {
	if len(plan) == 0 {
		return nil
	}
	dir, err := openSysctlRoot()
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, s := range plan {
		err := writeSysctl(dir, s)
		if root != 0 && errors.Is(err, unix.EACCES) {
			err = asUser(root, func() error { return writeSysctl(dir, s) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// asUser runs f as another user of the host, root of the user namespace: since Linux 6.9 (ipc_permissions in
// ipc/ipc_sysctl.c) the limits of an IPC namespace are that one's to set, and nobody else's. Only this thread changes.
func asUser(uid int, f func() error) error {
	if errno := seteuid(uid); errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	err := f()
	if errno := seteuid(0); errno != 0 {
		return errors.Join(err, fmt.Errorf("become root again: %w", errno))
	}
	return err
}

// seteuid is a bare system call: the functions of Go's libraries change all threads.
func seteuid(uid int) syscall.Errno {
	const same = ^uintptr(0)
	_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same)
	return errno
}

func openSysctlRoot() (*os.File, error) {
	root, err := os.OpenFile("/proc/sys", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open sysctl root: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(root.Fd()), &fs); err != nil {
		return nil, fmt.Errorf("check sysctl root: %w", closeAfter(err, root))
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return nil, closeAfter(errdefs.FailedPrecondition("check sysctl root: /proc/sys is not a proc file system"), root)
	}
	return root, nil
}

func writeSysctl(root *os.File, s sysctl) error {
	how := unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := retry(func() (int, error) { return unix.Openat2(int(root.Fd()), s.path, &how) })
	if err != nil {
		return errdefs.New(sysctlKind(err), "set sysctl %s: %w", s.key, err)
	}
	f := os.NewFile(uintptr(fd), s.path)
	_, err = f.WriteString(s.value)
	if err := closeAfter(err, f); err != nil {
		return errdefs.New(sysctlKind(err), "set sysctl %s to %q: %w", s.key, s.value, err)
	}
	return nil
}
