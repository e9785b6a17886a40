package overlay

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Unpackers followed links of the layer to the host: to change modes there (containerd CVE-2021-32760), to write (CVE-2025-47290,
// where the folder was swapped after it had been looked at, buildah's CVE-2024-11218, podman's CVE-2025-11395 of an imported
// volume). Each layer here is one that an attacker, or a broken builder, would write. Each ends in an error of the right kind,
// or in what the table says; nothing outside of the store changes, and nothing is left in it after an error.
func TestCVE_2021_32760_2024_11218_2025_11395_2025_47290_HostileLayers(t *testing.T) {
	canary := t.TempDir()
	must(t, os.WriteFile(filepath.Join(canary, "f"), []byte("alive"), 0o600))
	must(t, os.Mkdir(filepath.Join(canary, "d"), 0o700))
	before := list(t, canary)
	deep := strings.Repeat("d/", 1000)
	with := func(h *tar.Header, change func(*tar.Header)) *tar.Header { change(h); return h }

	for _, c := range []struct {
		name    string
		headers []*tar.Header
		want    string // the unpacked folder
		kind    error
	}{
		{name: "name with parents", headers: []*tar.Header{file("a/../../x", "evil")}, kind: errdefs.ErrInvalid},
		{name: "absolute name", headers: []*tar.Header{file(canary+"/f", "evil")}, want: implied2(canary) + canary[1:] + "/f -rw-r--r-- evil\n"},
		{name: "write through a link out", headers: []*tar.Header{symlink("l", canary), file("l/f", "evil")}, kind: errdefs.ErrInvalid},
		{name: "write through a relative link out", headers: []*tar.Header{symlink("l", strings.Repeat("../", 30)+canary[1:]), file("l/f", "evil")}, kind: errdefs.ErrInvalid},
		{name: "write through a magic link", headers: []*tar.Header{symlink("l", "/proc/self/root"), file("l"+canary+"/f", "evil")}, kind: errdefs.ErrInvalid},
		{name: "write through /proc in the layer", headers: []*tar.Header{dir("proc/self/"), symlink("proc/self/root", "/"), file("proc/self/root/f", "1")}, want: "f -rw-r--r-- 1\nproc drwxr-xr-x\nproc/self drwxr-xr-x\nproc/self/root Lrwxrwxrwx -> /\n"},
		{name: "folder through a link out", headers: []*tar.Header{symlink("l", canary), dir("l/d/")}, kind: errdefs.ErrInvalid},
		{name: "whiteout through a link out", headers: []*tar.Header{symlink("l", canary), file("l/.wh.f", "")}, kind: errdefs.ErrInvalid},
		{name: "opaque through a link out", headers: []*tar.Header{symlink("l", canary), file("l/.wh..wh..opq", "")}, kind: errdefs.ErrInvalid},
		{name: "link loop", headers: []*tar.Header{symlink("a", "b"), symlink("b", "a"), file("a/f", "evil")}, kind: errdefs.ErrInvalid},
		{name: "link to itself", headers: []*tar.Header{symlink("a", "a"), file("a/f", "evil")}, kind: errdefs.ErrInvalid},
		{name: "folder swapped for a link", headers: []*tar.Header{dir("a/"), file("a/f", "1"), symlink("a", canary), file("a/f", "evil")}, kind: errdefs.ErrInvalid},
		{name: "parent swapped for a link", headers: []*tar.Header{dir("a/b/"), file("a/b/f", "1"), symlink("a", canary+"/.."), file("a/b/f", "evil")}, kind: errdefs.ErrInvalid},
		{name: "link swapped for a folder", headers: []*tar.Header{symlink("a", canary), dir("a/"), file("a/f", "1")}, want: "a drwxr-xr-x\na/f -rw-r--r-- 1\n"},
		{name: "link swapped for a file", headers: []*tar.Header{symlink("a", canary+"/f"), file("a", "1")}, want: "a -rw-r--r-- 1\n"},
		{name: "file swapped for a file", headers: []*tar.Header{file("a", "11111"), file("a", "2")}, want: "a -rw-r--r-- 2\n"},
		{name: "file swapped for a folder", headers: []*tar.Header{file("a", "1"), dir("a/"), file("a/b", "2")}, want: "a drwxr-xr-x\na/b -rw-r--r-- 2\n"},
		{name: "folder swapped for a file", headers: []*tar.Header{dir("a/b/c/"), file("a/b/f", "1"), file("a", "2")}, want: "a -rw-r--r-- 2\n"},
		{name: "folder twice", headers: []*tar.Header{dir("a/"), file("a/f", "1"), with(dir("a/"), func(h *tar.Header) { h.Mode = 0o700 })}, want: "a drwx------\na/f -rw-r--r-- 1\n"},
		{name: "file as a folder", headers: []*tar.Header{file("a", "1"), file("a/b", "2")}, kind: errdefs.ErrInvalid},
		{name: "FIFO as a folder", headers: []*tar.Header{{Name: "a", Typeflag: tar.TypeFifo}, file("a/b", "2")}, kind: errdefs.ErrInvalid},
		{
			name: "links inside", headers: []*tar.Header{dir("usr/lib/"), symlink("lib", "usr/lib"), symlink("abs", "/usr/lib"), symlink("up", "../../usr/lib"), file("lib/a", "1"), file("abs/b", "2"), file("up/c", "3"), dir("lib/sub/"), file("abs/sub/d", "4")},
			want: "abs Lrwxrwxrwx -> /usr/lib\nlib Lrwxrwxrwx -> usr/lib\nup Lrwxrwxrwx -> ../../usr/lib\nusr drwxr-xr-x\nusr/lib drwxr-xr-x\nusr/lib/a -rw-r--r-- 1\nusr/lib/b -rw-r--r-- 2\nusr/lib/c -rw-r--r-- 3\nusr/lib/sub drwxr-xr-x\nusr/lib/sub/d -rw-r--r-- 4\n",
		},
		{name: "hard link through a link out", headers: []*tar.Header{symlink("l", canary), hardlink("h", "l/f")}, kind: errdefs.ErrInvalid},
		{name: "hard link to a link out, with a mode", headers: []*tar.Header{symlink("l", canary+"/f"), with(hardlink("h", "l"), func(h *tar.Header) { h.Mode, h.Uid = 0o4777, 1000 })}, want: "h Lrwxrwxrwx -> " + canary + "/f\nl Lrwxrwxrwx -> " + canary + "/f\n"},
		{name: "hard link to what comes later", headers: []*tar.Header{hardlink("h", "f"), file("f", "1")}, kind: errdefs.ErrInvalid},
		{name: "hard link to nothing", headers: []*tar.Header{hardlink("h", "no/such")}, kind: errdefs.ErrInvalid},
		{name: "hard link to a folder", headers: []*tar.Header{dir("d/"), hardlink("h", "d")}, kind: errdefs.ErrInvalid},
		{name: "hard link to a whiteout", headers: []*tar.Header{file(".wh.w", ""), hardlink("h", "w")}, kind: errdefs.ErrInvalid},
		{name: "hard link to itself", headers: []*tar.Header{file("f", "1"), hardlink("f", "f")}, want: "f -rw-r--r-- 1\n"},
		{name: "hard link over a file", headers: []*tar.Header{file("f", "1"), file("h", "2"), hardlink("h", "f")}, want: "f -rw-r--r-- 1\nh -rw-r--r-- 1\n"},
		{name: "hard link over the folder of its target", headers: []*tar.Header{dir("d/"), file("d/f", "1"), hardlink("d", "d/f")}, kind: errdefs.ErrInvalid},
		{name: "mode of a hard link to a link out", headers: []*tar.Header{symlink("l", canary+"/d"), hardlink("h", "l"), with(dir("h/"), func(h *tar.Header) { h.Mode = 0o777 })}, want: "h drwxrwxrwx\nl Lrwxrwxrwx -> " + canary + "/d\n"},
		{name: "owner through a link out", headers: []*tar.Header{symlink("l", canary), with(hardlink("l/h", "l/f"), func(h *tar.Header) { h.Uid = 7 })}, kind: errdefs.ErrInvalid},
		{name: "overlay's whiteout", headers: []*tar.Header{{Name: "a", Typeflag: tar.TypeChar}}, kind: errdefs.ErrInvalid},
		{name: "root as a link", headers: []*tar.Header{symlink("./", canary)}, kind: errdefs.ErrInvalid},
		{name: "deep", headers: []*tar.Header{file(deep+"f", "1"), file("x", "2"), hardlink(deep+"g", "x"), hardlink("y", deep+"f")}, want: levels(1000) + deep + "f -rw-r--r-- 1\n" + deep + "g -rw-r--r-- 2\n" + "x -rw-r--r-- 2\ny -rw-r--r-- 1\n"},
		{name: "names", headers: []*tar.Header{file(strings.Repeat("n", 255), "1"), with(file("\xff\xfe", "2"), func(h *tar.Header) { h.Format = tar.FormatGNU; h.PAXRecords = nil })}, want: strings.Repeat("n", 255) + " -rw-r--r-- 1\n\xff\xfe -rw-r--r-- \n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, root := newDriver(t)
			data := tarOf(t, c.headers...)
			p, err := d.Apply(t.Context(), idOf(data), bytes.NewReader(data), layer.Limits{})
			if c.kind != nil {
				if !errors.Is(err, c.kind) {
					t.Errorf("Apply = %v, want %v", err, c.kind)
				}
			} else {
				must(t, err)
				if diff := cmp.Diff(c.want, list(t, filepath.Join(root, "tmp", p.(*pending).temp, "fs"))); diff != "" {
					t.Error(diff)
				}
				must(t, p.Discard())
			}
			if after := list(t, canary); after != before {
				t.Fatalf("a file outside of the store changed:\n%s", cmp.Diff(before, after))
			}
		})
	}
}

// implied2 spells the folders that lead to path.
func implied2(path string) string {
	s := ""
	for i, c := range path[1:] + "/" {
		if c == '/' {
			s += path[1:i+1] + " drwxr-xr-x\n"
		}
	}
	return s
}

func levels(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		b.WriteString(strings.TrimSuffix(strings.Repeat("d/", i), "/") + " drwxr-xr-x\n")
	}
	return b.String()
}

// TestKeepsWhatMatters: set-ID bits, capabilities, owners, devices, times and holes.
func TestKeepsWhatMatters(t *testing.T) {
	d, root := newDriver(t)
	caps := "\x01\x00\x00\x02" + "\x00\x04\x00\x00" + strings.Repeat("\x00", 12)
	suid := file("suid", "x")
	suid.Mode, suid.Uid, suid.Gid = 0o4755, 1000, 1<<31
	capable := file("capable", "x")
	capable.Uid, capable.PAXRecords["SCHILY.xattr.security.capability"] = 5, caps
	capable.PAXRecords["SCHILY.xattr.trusted.overlay.opaque"] = "y"
	wantAttrs := map[string]string{"security.capability": caps}
	if holdsUserXattrs(t, root) {
		capable.PAXRecords["SCHILY.xattr.user.note"] = "hello"
		wantAttrs["user.note"] = "hello"
	}
	shared := dir("shared/")
	shared.Mode, shared.Gid = 0o2777, 50
	data := tarOf(t, suid, capable, shared, file("shared/f", "x"), dir("shared/sub/"),
		&tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666})
	id := apply(t, d, data)
	at := filepath.Join(root, "layers", strings.Replace(string(id), ":", "-", 1), "fs")
	got := ""
	for _, name := range []string{"suid", "capable", "shared", "shared/f", "shared/sub", "null"} {
		got += name + " " + statOf(t, filepath.Join(at, name)) + "\n"
	}
	want := `suid 104755 1000:2147483648 0:0 1700000000
capable 100644 5:0 0:0 1700000000
shared 42777 0:50 0:0 1700000000
shared/f 100644 0:0 0:0 1700000000
shared/sub 40755 0:0 0:0 1700000000
null 20666 0:0 1:3 1700000000
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	attrs := xattrsOf(t, filepath.Join(at, "capable"))
	if diff := cmp.Diff(wantAttrs, attrs); diff != "" {
		t.Error(diff)
	}
}

// holdsUserXattrs tells whether the file system keeps user attributes; tmpfs does since Linux 6.6.
func holdsUserXattrs(t *testing.T, path string) bool {
	t.Helper()
	err := syscall.Setxattr(path, "user.probe", []byte("x"), 0)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		t.Log("no user attributes on this file system")
		return false
	}
	must(t, err)
	return true
}
