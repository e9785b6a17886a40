package rootfs_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// What a copy keeps beside names and bytes. Capabilities come last in a file's life, as a change of its owner takes them away.
func TestCopyFolderKeepsWhatFilesHave(t *testing.T) {
	testutil.RequireRoot(t)
	from, to := t.TempDir(), t.TempDir()
	const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // CAP_NET_BIND_SERVICE
	file, sparse, sub, link := filepath.Join(from, "file"), filepath.Join(from, "sparse"), filepath.Join(from, "sub"), filepath.Join(from, "link")
	testutil.Must(t, os.WriteFile(file, []byte("content"), 0o755))
	testutil.Must(t, os.Chown(file, 7, 8))
	testutil.Must(t, os.Mkdir(sub, 0o750))
	testutil.Must(t, os.Symlink("file", link))
	f, err := os.Create(sparse)
	testutil.Must(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 8<<20)
	testutil.Must(t, err)
	testutil.Must(t, f.Truncate(64<<20))
	testutil.Must(t, f.Close())
	testutil.Must(t, syscall.Setxattr(file, "security.capability", []byte(capability), 0))
	testutil.Must(t, syscall.Setxattr(file, "trusted.secret", []byte("the host's"), 0))
	testutil.Must(t, syscall.Setxattr(sub, "user.note", []byte("mine"), 0))
	past := time.Unix(1_000_000_000, 500_000_000)
	for _, path := range []string{file, sparse, sub, from} {
		testutil.Must(t, os.Chtimes(path, past, past))
	}

	copyFolder(t, from, to)

	for _, name := range []string{"file", "sparse", "sub", "."} {
		info, err := os.Stat(filepath.Join(to, name))
		testutil.Must(t, err)
		if !info.ModTime().Equal(past) {
			t.Errorf("%s was changed at %v, want %v", name, info.ModTime(), past)
		}
	}
	if got := xattr(filepath.Join(to, "file"), "security.capability"); got != capability {
		t.Errorf("capabilities %q", got)
	}
	if got := xattr(filepath.Join(to, "file"), "trusted.secret"); got != "" {
		t.Errorf("an attribute of the host's came along: %q", got)
	}
	if got := xattr(filepath.Join(to, "sub"), "user.note"); got != "mine" {
		t.Errorf("user.note is %q", got)
	}
	info, err := os.Stat(filepath.Join(to, "sparse"))
	testutil.Must(t, err)
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Size() != 64<<20 || used > 1<<20 {
		t.Errorf("a sparse file has %d bytes on %d of disk", info.Size(), used)
	}
	data := make([]byte, 13)
	c, err := os.Open(filepath.Join(to, "sparse"))
	testutil.Must(t, err)
	defer c.Close()
	if _, err := c.ReadAt(data, 8<<20); err != nil || string(data) != "in the middle" {
		t.Errorf("%q, %v", data, err)
	}
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	source, err := sys.OpenDir(from)
	testutil.Must(t, err)
	defer source.Close()
	target, err := sys.OpenDir(to)
	testutil.Must(t, err)
	defer target.Close()
	testutil.Must(t, rootfs.CopyFolder(source, target))
}

func xattr(path, name string) string {
	buf := make([]byte, 64)
	n, err := syscall.Getxattr(path, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}
