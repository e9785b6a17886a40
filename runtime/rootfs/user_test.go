package rootfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

func TestMain(m *testing.M) { testutil.Main(m) }

const passwd = `root:x:0:0:root:/root:/bin/sh
web:x:33:44:www:/var/www:/sbin/nologin
1000:x:77:78:a name of digits:/home/digits:/bin/sh
2147483648:x:0:0:too large a name:/:/bin/sh
huge:x:4294967296:0::/:/bin/sh
wrap:x:4294967295:0::/:/bin/sh
hex:x:0x10:0::/:/bin/sh
short:x:5
:x:6:6:::
tab:x:8:8::/home/tab` + "\t" + `:/bin/sh
relative:x:9:9::home:/bin/sh
-1:x:0:0:a name that is a number:/:/bin/sh
+0:x:0:0::/:/bin/sh
0x0:x:0:0::/:/bin/sh
4294967296:x:0:0::/:/bin/sh
+nis:x:0:0::/:/bin/sh
+::::::
+@netgroup::::::
12:x:12:12::/a:/bin/sh
web:x:34:45:second of the name:/other:/bin/sh
`

const group = `root:x:0:
www:x:44:web
adm:x:4:root,web
logs:x:50: web ,root
dup:x:4:web
bad:x:4294967296:web
neg:x:-1:web
2000:x:66:
short
`

// root makes a root file system with these account files.
func root(t testing.TB, files map[string]string) *os.File {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		testutil.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		testutil.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return open(t, dir)
}

func open(t testing.TB, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, f.Close()) })
	return f
}

func TestLookupUser(t *testing.T) {
	accounts := root(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
	for user, expect := range map[string]rootfs.User{
		"":           {UID: 0, GID: 0, Name: "root", Home: "/root", Groups: []uint32{4, 50}},
		"root":       {UID: 0, GID: 0, Name: "root", Home: "/root", Groups: []uint32{4, 50}},
		"0":          {UID: 0, GID: 0, Name: "root", Home: "/root", Groups: []uint32{4, 50}},
		"web":        {UID: 33, GID: 44, Name: "web", Home: "/var/www", Groups: []uint32{4, 50}},
		"33":         {UID: 33, GID: 44, Name: "web", Home: "/var/www", Groups: []uint32{4, 50}},
		"web:www":    {UID: 33, GID: 44, Name: "web", Home: "/var/www", Groups: []uint32{4, 50}},
		"web:adm":    {UID: 33, GID: 4, Name: "web", Home: "/var/www", Groups: []uint32{44, 50}},
		"33:2000":    {UID: 33, GID: 2000, Name: "web", Home: "/var/www", Groups: []uint32{4, 44, 50}},
		"1000":       {UID: 1000, Home: "/"}, // never the name
		"1000:1":     {UID: 1000, GID: 1, Home: "/"},
		"2147483647": {UID: 2147483647, Home: "/"},
		"relative":   {UID: 9, GID: 9, Name: "relative", Home: "/"},
		"tab":        {UID: 8, GID: 8, Name: "tab", Home: "/"},
		"007":        {UID: 7, Home: "/"},
	} {
		got, err := rootfs.LookupUser(accounts, user)
		if err != nil {
			t.Errorf("%q: %v", user, err)
			continue
		}
		if diff := cmp.Diff(expect, got); diff != "" {
			t.Errorf("%q: %s", user, diff)
		}
	}
}

// A user number that did not fit became 0 (containerd CVE-2024-40635), a name that the image's /etc/passwd gave the number 0
// (CVE-2026-46680), or was cut off (crun CVE-2026-30892). Here it would show as a user, whoever that is, instead of an error.
func TestCVE_2024_40635_2026_46680_2026_30892_NumbersThatDoNotFit(t *testing.T) {
	accounts := root(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
	for user, kind := range map[string]error{
		"2147483648": errdefs.ErrInvalid, "4294967295": errdefs.ErrInvalid, "4294967296": errdefs.ErrInvalid,
		"99999999999999999999": errdefs.ErrInvalid, "0:4294967296": errdefs.ErrInvalid,
		"1:": errdefs.ErrInvalid, ":1": errdefs.ErrInvalid, ":": errdefs.ErrInvalid, "a:b:c": errdefs.ErrInvalid,
		"web ": errdefs.ErrInvalid, " 0": errdefs.ErrInvalid, "0\n": errdefs.ErrInvalid, "we\x00b": errdefs.ErrInvalid,
		"-1": errdefs.ErrInvalid, "+0": errdefs.ErrInvalid, "-0": errdefs.ErrInvalid, "+": errdefs.ErrInvalid, "0x0": errdefs.ErrInvalid, "0X7fffffffff": errdefs.ErrInvalid,
		"web:-1": errdefs.ErrInvalid, "web:0x0": errdefs.ErrInvalid, "web:+wheel": errdefs.ErrInvalid, "0\u00a0": errdefs.ErrInvalid, "1\u0085": errdefs.ErrInvalid, "-nis": errdefs.ErrInvalid,
		"1e3": errdefs.ErrNotFound, "٠": errdefs.ErrNotFound, "0x": errdefs.ErrInvalid, "1,000": errdefs.ErrNotFound, "0b1": errdefs.ErrNotFound, "1_0": errdefs.ErrNotFound,
		"nobody": errdefs.ErrNotFound, "web:nobody": errdefs.ErrNotFound,
		"huge": errdefs.ErrNotFound, "wrap": errdefs.ErrNotFound, "hex": errdefs.ErrNotFound, "short": errdefs.ErrNotFound, "web:bad": errdefs.ErrNotFound,
	} {
		if got, err := rootfs.LookupUser(accounts, user); !errors.Is(err, kind) {
			t.Errorf("%q: %+v, %v, want %v", user, got, err, kind)
		}
	}
}

func TestLookupUserWithoutFiles(t *testing.T) {
	empty := root(t, nil)
	got, err := rootfs.LookupUser(empty, "5:6")
	testutil.Must(t, err)
	if diff := cmp.Diff(rootfs.User{UID: 5, GID: 6, Home: "/"}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := rootfs.LookupUser(empty, "root"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

// Runtimes read what the image has in place of /etc/passwd and /etc/group, without a bound, and through links (podman
// CVE-2024-9676, CRI-O CVE-2025-4437, containerd CVE-2026-47262). Here it would show as a test that hangs or runs out of
// memory, or as a user of the host's file.
func TestCVE_2024_9676_2025_4437_2026_47262_HostileAccountFiles(t *testing.T) {
	testutil.RequireRoot(t)
	outside := t.TempDir()
	testutil.Must(t, os.WriteFile(outside+"/passwd", []byte("root:x:99:99::/:\n"), 0o644))
	for name, make := range map[string]func(path string) error{
		"FIFO":           func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"device":         func(p string) error { return syscall.Mknod(p, syscall.S_IFCHR|0o644, 1<<8|5) }, // /dev/zero
		"folder":         func(p string) error { return os.Mkdir(p, 0o755) },
		"too large":      func(p string) error { return os.Truncate(must(t, p), 1<<40) },
		"loop":           func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"magic link":     func(p string) error { return os.Symlink("/proc/self/fd/0", p) },
		"one out of it":  func(p string) error { return os.Symlink(outside+"/passwd", p) },
		"dots out of it": func(p string) error { return os.Symlink("../../../../../../../.."+outside+"/passwd", p) },
	} {
		for _, file := range []string{"passwd", "group"} {
			dir := t.TempDir()
			testutil.Must(t, os.Mkdir(dir+"/etc", 0o755))
			testutil.Must(t, make(dir+"/etc/"+file))
			if got, err := rootfs.LookupUser(open(t, dir), "root:wheel"); err == nil {
				t.Errorf("%s for %s: %+v", name, file, got)
			}
		}
	}
}

// must makes an empty file.
func must(t *testing.T, path string) string {
	t.Helper()
	testutil.Must(t, os.WriteFile(path, nil, 0o644))
	return path
}

func TestLookupUserInManyGroups(t *testing.T) {
	var b strings.Builder
	for i := range 70000 {
		fmt.Fprintf(&b, "g%d:x:%d:web\n", i, i+100)
	}
	u, err := rootfs.LookupUser(root(t, map[string]string{"etc/passwd": passwd, "etc/group": b.String()}), "web")
	testutil.Must(t, err)
	if len(u.Groups) != 65536 {
		t.Errorf("%d groups", len(u.Groups))
	}
}

// Long lines, lines of nothing but separators, a last line that does not end, and names that come twice.
func TestCVE_2025_4437_OddAccountFiles(t *testing.T) {
	const last = "web:x:33:44::/w:/bin/sh" // without a line break
	for name, before := range map[string]string{
		"a line of 1 MB":   strings.Repeat("x", 1<<20) + "\n",
		"colons":           strings.Repeat(":", 4<<20-len(last)-1) + "\n",
		"commas":           "g:x:1:" + strings.Repeat(",", 1<<20) + "\n",
		"a name of 1 MB":   strings.Repeat("n", 1<<20) + ":x:1:1::/:/bin/sh\n",
		"carriage returns": "web\r:x:1:1::/:\r\n\r\r\n",
		"NULs":             "\x00:x:0:0::/:\nweb\x00:x:0:0::/:\n",
		"prefix":           "webb:x:0:0::/:\nwe:x:0:0::/:\n",
		"twice":            "web:x:33:44::/w:/bin/sh\nweb:x:0:0::/root:/bin/sh\n",
	} {
		r := root(t, map[string]string{"etc/passwd": before + last, "etc/group": before})
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		u, err := rootfs.LookupUser(r, "web")
		runtime.ReadMemStats(&end)
		if err != nil || u.UID != 33 || u.GID != 44 || u.Home != "/w" {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
		if used := (end.TotalAlloc - start.TotalAlloc) >> 20; used > 60 { // reading a file of 4 MiB takes some 20
			t.Errorf("%s: takes %d MiB", name, used)
		}
	}
}

// The account files are swapped for a link out of the root, a FIFO and a device while they are read, some thousand times: a
// file that is looked at and then opened by its name can be another one (TOCTOU).
func TestCVE_2024_9676_AccountFilesThatChange(t *testing.T) {
	testutil.RequireRoot(t)
	dir, outside := t.TempDir(), t.TempDir()
	testutil.Must(t, os.WriteFile(outside+"/passwd", []byte("web:x:99:99::/:\n"), 0o644))
	testutil.Must(t, os.Mkdir(dir+"/etc", 0o755))
	testutil.Must(t, os.WriteFile(dir+"/file", []byte("web:x:33:44::/w:\n"), 0o644))
	testutil.Must(t, syscall.Mkfifo(dir+"/fifo", 0o644))
	testutil.Must(t, syscall.Mknod(dir+"/zero", syscall.S_IFCHR|0o644, 1<<8|5))
	testutil.Must(t, os.Symlink(outside+"/passwd", dir+"/out"))
	testutil.Must(t, os.Symlink("/proc/self/fd/0", dir+"/magic"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := []string{"file", "fifo", "file", "zero", "file", "out", "file", "magic"}[i%8]
			if os.Link(dir+"/"+name, dir+"/next") != nil || os.Rename(dir+"/next", dir+"/etc/passwd") != nil {
				t.Error("swap")
				return
			}
			_ = os.Remove(dir + "/next") // is left where both names are of one file
		}
	}()
	r, found := open(t, dir), 0
	for range 5000 {
		u, err := rootfs.LookupUser(r, "web")
		if err == nil && u.UID != 33 {
			t.Errorf("%+v", u)
		}
		if err == nil {
			found++
		}
	}
	close(stop)
	<-done
	t.Logf("found %d times of 5000", found)
	if found == 0 {
		t.Error("never found: nothing is shown")
	}
}

func FuzzLookupUser(f *testing.F) {
	f.Add(passwd, group, "web:adm")
	f.Add("a:b:1:2:c:d", "a:b:3:a,a", "1:3")
	f.Add("", "", "4294967296")
	f.Add("+::::::\n0x0:x:0:0::/:\n-1:x:0:0::/:", "+:::\nweb:x:1:web", "-1")
	f.Add("web:x:1:1::/:"+strings.Repeat(":", 1000), "g:x:2:web:web", "web:g")
	f.Fuzz(func(t *testing.T, passwd, group, user string) {
		u, err := rootfs.Lookup(passwd, group, user)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotFound) {
				t.Fatalf("%q: error of no kind: %v", user, err)
			}
			return
		}
		if u.UID > 1<<31-1 || u.GID > 1<<31-1 || len(u.Groups) > 65536 || !strings.HasPrefix(u.Home, "/") || strings.ContainsAny(u.Home, "\n\r\x00") {
			t.Fatalf("%q: %+v", user, u)
		}
		name, _, _ := strings.Cut(user, ":")
		if strings.Trim(name, "0123456789") == "" && name != "" && strings.TrimLeft(name, "0") != strings.TrimLeft(fmt.Sprint(u.UID), "0") {
			t.Fatalf("number %q became %d", name, u.UID)
		}
		if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "0x") {
			t.Fatalf("%q became %d", name, u.UID)
		}
		if name != "" && strings.Trim(name, "0123456789") != "" && u.Name != name {
			t.Fatalf("name %q became %q", name, u.Name)
		}
	})
}
