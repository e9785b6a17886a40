package lsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

const labelAttribute = "security.selinux"

// Bounds of what [Relabel] walks.
const (
	maxLabelled = 10_000_000 // files
	maxDepth    = 256        // folders, of which each is an open file
	labelBatch  = 512        // names read at a time
)

// Relabel gives the file or folder at path, and all that is below it on the same mount, an SELinux label. The path must
// have no links in it, and none is followed below: they are labelled themselves. ErrPermission for the host's own folders, of
// which a wrong label makes the machine unusable; ErrExhausted where the tree is too large or too deep. A file system
// without labels stays as it is.
func Relabel(ctx context.Context, path, label string) error {
	if err := relabel(ctx, path, label, maxLabelled); err != nil {
		return fmt.Errorf("label %s as %s: %w", path, label, err)
	}
	return nil
}

func relabel(ctx context.Context, path, label string, most int) error {
	top, err := sys.Openat2(nil, path, sys.OPath|syscall.O_NOFOLLOW, 0, sys.ResolveNoSymlinks|sys.ResolveNoMagiclinks)
	if err != nil {
		return err
	}
	r := &relabeler{label: label, left: most}
	err = checkHost(top)
	if err == nil {
		err = r.tree(ctx, top, maxDepth)
	}
	if errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, top.Close())
}

// relabeler walks one tree.
type relabeler struct {
	label string
	left  int // how many more files it may label
}

// checkHost refuses the host's own folders, by where the open file is.
func checkHost(top *os.File) error {
	path, err := sys.PathOf(top)
	if err != nil {
		return err
	}
	if hostFolder(path) {
		return errdefs.New(errdefs.ErrPermission, "it is %s, which belongs to the host: mount a folder of the workload's, or do not ask for relabeling", path)
	}
	return nil
}

// hostFolder tells whether a path is one of the host's own: one of those that hold others' data, or anything of the system's.
func hostFolder(path string) bool {
	holders := []string{
		"/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var", "/var/lib", "/var/lib/kubelet", "/var/lib/kubelet/pods",
		"/var/log", "/var/log/pods", "/var/spool", "/var/tmp",
	}
	system := []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr"}
	return slices.Contains(holders, path) ||
		slices.ContainsFunc(system, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

func (r *relabeler) tree(ctx context.Context, f *os.File, depth int) error {
	if err := r.one(ctx, f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || !info.IsDir() {
		return err
	}
	if depth == 0 {
		return errdefs.New(errdefs.ErrExhausted, "more than %d folders in one another", maxDepth)
	}
	dir, err := sys.Reopen(f, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return err
	}
	return errors.Join(r.entries(ctx, dir, depth-1), dir.Close())
}

func (r *relabeler) entries(ctx context.Context, dir *os.File, depth int) error {
	for {
		names, err := dir.Readdirnames(labelBatch)
		for _, name := range names {
			if err := r.entry(ctx, dir, name, depth); err != nil {
				return fmt.Errorf("%.100s: %w", name, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry labels what is in a folder. What is gone by now, or is another mount, is none of ours.
func (r *relabeler) entry(ctx context.Context, dir *os.File, name string, depth int) error {
	const resolve = sys.ResolveBeneath | sys.ResolveNoSymlinks | sys.ResolveNoXdev
	f, err := sys.Openat2(dir, name, sys.OPath|syscall.O_NOFOLLOW, 0, resolve)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EXDEV) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(r.tree(ctx, f, depth), f.Close())
}

// one labels a file unless it has the label: each write is one to the disk.
func (r *relabeler) one(ctx context.Context, f *os.File) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.left--; r.left < 0 {
		return errdefs.New(errdefs.ErrExhausted, "there are too many files in it")
	}
	value := r.label + "\x00"
	if now, err := sys.GetxattrAt(f, labelAttribute); err == nil && now == value {
		return nil
	}
	return sys.SetxattrAt(f, labelAttribute, value)
}
