package lsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

const testLabel = "system_u:object_r:container_file_t:s0:c1,c2"

// labelOf returns a file's own label, be it a link. The attribute is an ordinary one where SELinux is off.
func labelOf(t *testing.T, path string) string {
	t.Helper()
	f, err := sys.Openat2(nil, path, sys.OPath|syscall.O_NOFOLLOW, 0, 0)
	testutil.Must(t, err)
	value, err := sys.GetxattrAt(f, labelAttribute)
	if err != nil && !errors.Is(err, syscall.ENODATA) {
		t.Fatal(err)
	}
	testutil.Must(t, f.Close())
	return value
}

// labelTree makes a folder on a tmpfs, which has labels, with all kinds of files, and one outside that links lead to.
func labelTree(t *testing.T) (tree, outside string) {
	t.Helper()
	testutil.RequireRoot(t)
	dir := t.TempDir()
	testutil.Must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"))
	t.Cleanup(func() { testutil.Must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	tree, outside = dir+"/tree", dir+"/outside"
	testutil.Must(t, os.MkdirAll(tree+"/a/b", 0o755))
	testutil.Must(t, os.MkdirAll(tree+"/mount", 0o755))
	testutil.Must(t, os.Mkdir(outside, 0o755))
	for _, file := range []string{tree + "/a/b/f", outside + "/f"} {
		testutil.Must(t, os.WriteFile(file, nil, 0o600))
	}
	testutil.Must(t, os.Symlink("../../outside", tree+"/a/folder"))
	testutil.Must(t, os.Symlink(outside+"/f", tree+"/a/file"))
	testutil.Must(t, syscall.Mkfifo(tree+"/a/fifo", 0o600))
	testutil.Must(t, syscall.Mount("tmpfs", tree+"/mount", "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { testutil.Must(t, syscall.Unmount(tree+"/mount", syscall.MNT_DETACH)) })
	return tree, outside
}

func TestRelabel(t *testing.T) {
	tree, outside := labelTree(t)
	for range 2 { // the second time all of it is there
		testutil.Must(t, Relabel(t.Context(), tree, testLabel))
	}
	for _, path := range []string{"", "/a", "/a/b", "/a/b/f", "/a/folder", "/a/file", "/a/fifo"} {
		if got := labelOf(t, tree+path); got != testLabel+"\x00" {
			t.Errorf("%s: label %q", path, got)
		}
	}
	for _, path := range []string{outside, outside + "/f", tree + "/mount"} {
		if got := labelOf(t, path); got != "" {
			t.Errorf("%s: label %q", path, got)
		}
	}
	testutil.Must(t, Relabel(t.Context(), outside+"/f", testLabel))
	if got := labelOf(t, outside+"/f"); got != testLabel+"\x00" {
		t.Errorf("a file: label %q", got)
	}
}

func TestRelabelIsBounded(t *testing.T) {
	tree, _ := labelTree(t)
	if err := relabel(t.Context(), tree, testLabel, 3); !errors.Is(err, errdefs.ErrExhausted) {
		t.Errorf("too many: %v", err)
	}
	deep := tree
	for i := range maxDepth + 1 {
		deep = filepath.Join(deep, strconv.Itoa(i%10))
	}
	testutil.Must(t, os.MkdirAll(deep, 0o755))
	if err := Relabel(t.Context(), tree, testLabel); !errors.Is(err, errdefs.ErrExhausted) {
		t.Errorf("too deep: %v", err)
	}
}

func TestHostFolders(t *testing.T) {
	for _, path := range []string{"/", "/etc", "/etc/passwd", "/usr", "/usr/share/x", "/proc", "/proc/1", "/sys/fs/cgroup", "/dev/null", "/root", "/var", "/var/lib", "/home", "/tmp"} {
		if !hostFolder(path) {
			t.Errorf("%s is nobody's", path)
		}
	}
	for _, path := range []string{"/srv/data", "/var/lib/kubelet/pods/x/volumes/y", "/home/a", "/usrdata", "/tmp/x", "/mnt/disk"} {
		if hostFolder(path) {
			t.Errorf("%s is the host's", path)
		}
	}
	for _, path := range []string{"/etc", "/proc/sys", "/", "/usr/share"} {
		if err := Relabel(t.Context(), path, testLabel); !errors.Is(err, errdefs.ErrPermission) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A container swaps a folder of its volume for a link to one of the host's while the volume is labelled: a walk by path
// would label that one (the class of CVE-2021-43816).
func TestCVE_2021_43816_RacingRelabel(t *testing.T) {
	tree, outside := labelTree(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, step := range [][2]string{{"/a/b", "/a/x"}, {"/a/folder", "/a/b"}, {"/a/b", "/a/folder"}, {"/a/x", "/a/b"}} {
				if err := os.Rename(tree+step[0], tree+step[1]); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for i := range 1000 {
		if err := Relabel(t.Context(), tree, fmt.Sprintf("%s,c%d", testLabel, 3+i)); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	<-done
	for _, path := range []string{outside, outside + "/f"} {
		if got := labelOf(t, path); got != "" {
			t.Errorf("%s: label %q", path, got)
		}
	}
}
