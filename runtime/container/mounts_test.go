package container_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

// volume makes a host folder that is a tmpfs mount of its own with the given propagation, and a second mount in its sub.
func volume(t *testing.T, propagation uintptr) string {
	t.Helper()
	dir := t.TempDir()
	mount := func(path string) {
		testutil.Must(t, os.MkdirAll(path, 0o755))
		testutil.Must(t, syscall.Mount("volume", path, "tmpfs", 0, ""))
		testutil.Must(t, os.WriteFile(path+"/file", []byte("content of "+filepath.Base(path)+"\n"), 0o644))
		t.Cleanup(func() { testutil.Must(t, syscall.Unmount(path, syscall.MNT_DETACH)) })
	}
	mount(dir)
	testutil.Must(t, syscall.Mount("", dir, "", propagation, ""))
	mount(dir + "/sub")
	testutil.Must(t, os.Mkdir(dir+"/late", 0o755))
	return dir
}

func (tr *trial) mount(m specs.Mount) { tr.spec.Mounts = append(tr.spec.Mounts, m) }

func (tr *trial) bind(source, dest string, options ...string) {
	tr.mount(specs.Mount{Destination: dest, Type: "bind", Source: source, Options: options})
}

func (tr *trial) mayMount() {
	c := tr.spec.Process.Capabilities
	c.Bounding = append(c.Bounding, "CAP_SYS_ADMIN")
	c.Permitted, c.Effective = c.Bounding, c.Bounding
}

func TestMounts(t *testing.T) {
	n := newNode(t, build(t))

	t.Run("bind and rbind", func(t *testing.T) {
		dir := volume(t, syscall.MS_PRIVATE)
		tr := n.newTrial(t, "cat:/all/file", "cat:/all/sub/file", "cat:/one/file", "ls:/one/sub", "touch:/all/made", "cat:/single")
		tr.bind(dir, "/all", "rbind")
		tr.bind(dir, "/one", "bind")
		tr.bind(dir+"/sub/file", "/single", "bind", "ro")
		out := tr.run()
		want(t, out, "content of sub", "touched /all/made")
		if strings.Count(out, "content of sub") != 2 || strings.Count(out, "content of") != 4 || strings.Contains(out, "entry") {
			t.Errorf("output:\n%s", out)
		}
		if _, err := os.Stat(dir + "/made"); err != nil {
			t.Error(err)
		}
	})
	t.Run("read-only is of one mount, recursively read-only of all", func(t *testing.T) {
		dir := volume(t, syscall.MS_PRIVATE)
		tr := n.newTrial(t, "touch:/ro/x", "touch:/ro/sub/x", "touch:/rro/x", "touch:/rro/sub/x")
		tr.bind(dir, "/ro", "rbind", "rprivate", "ro")
		tr.bind(dir, "/rro", "rbind", "rprivate", "rro")
		out := tr.run()
		want(t, out, "touched /ro/sub/x")
		for _, s := range []string{"touch:/ro/x error 30", "touch:/rro/x error 30", "touch:/rro/sub/x error 30"} {
			if !strings.Contains(out, s) {
				t.Errorf("no %q in\n%s", s, out)
			}
		}
	})
	t.Run("flags", func(t *testing.T) {
		dir := volume(t, syscall.MS_PRIVATE)
		tr := n.newTrial(t, "cat:/proc/self/mountinfo")
		tr.bind(dir, "/v", "rbind", "nosuid", "nodev", "noexec", "noatime", "nosymfollow")
		for line := range strings.Lines(tr.run()) {
			if f := strings.Fields(line); len(f) > 5 && f[4] == "/v" && f[5] != "rw,nosuid,nodev,noexec,noatime,nosymfollow" {
				t.Errorf("flags %s", f[5])
			}
		}
	})
	t.Run("the source's own flags stay", func(t *testing.T) {
		dir := volume(t, syscall.MS_PRIVATE)
		testutil.Must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_NOEXEC|syscall.MS_RDONLY, ""))
		tr := n.newTrial(t, "touch:/v/x", "cat:/proc/self/mountinfo")
		tr.bind(dir, "/v", "rbind", "rprivate")
		out := tr.run()
		if !strings.Contains(out, " /v ro,noexec,relatime") || strings.Contains(out, "touched") {
			t.Errorf("output:\n%s", out)
		}
	})
	t.Run("image volume", func(t *testing.T) {
		fs, err := sys.Fsopen("tmpfs")
		testutil.Must(t, err)
		image, err := fs.Mount("image", 0)
		testutil.Must(t, err)
		testutil.Must(t, fs.Close())
		f, err := sys.Openat2(image, "file", os.O_CREATE|os.O_WRONLY, 0o644, 0)
		testutil.Must(t, err)
		_, err = f.WriteString("of the image\n")
		testutil.Must(t, err)
		testutil.Must(t, f.Close())
		tr := n.newTrial(t, "cat:/image/file", "touch:/image/x")
		tr.mount(specs.Mount{Destination: "/image", Type: "bind", Source: "not looked at", Options: []string{"ro"}})
		tr.opts.Mounts = map[string]*os.File{"/image": image}
		out := tr.run()
		want(t, out, "of the image")
		wantNot(t, out, "touched")
	})
	t.Run("one mount on another's folder", func(t *testing.T) {
		dir, other := volume(t, syscall.MS_PRIVATE), volume(t, syscall.MS_PRIVATE)
		tr := n.newTrial(t, "cat:/a/new/folder/file", "cat:/dev/deep/er/file", "cat:/dev/termination-log", "cat:/t/x/file")
		tr.bind(dir, "/a", "rbind")
		tr.bind(other, "/a/new/folder", "bind")
		tr.bind(other, "/dev/deep/er", "bind")
		tr.bind(other+"/file", "/dev/termination-log", "bind")
		tr.mount(specs.Mount{Destination: "/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "size=1m", "mode=700"}})
		tr.bind(other, "/t/x", "bind")
		out := tr.run()
		wantNot(t, out, "error")
		if info, err := os.Stat(dir + "/new/folder"); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("mount point in a volume: %v %v", info, err)
		}
	})
	t.Run("tmpfs options", func(t *testing.T) {
		tr := n.newTrial(t, "cat:/proc/self/mountinfo", "touch:/ro/x", "touch:/t/x")
		tr.mount(specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"nosuid", "size=2m", "mode=1770", "uid=7", "nr_inodes=100"}})
		tr.mount(specs.Mount{Destination: "/ro", Type: "tmpfs", Options: []string{"ro"}})
		out := tr.run()
		want(t, out, "touched /t/x")
		wantNot(t, out, "touched /ro/x")
		if !strings.Contains(out, "size=2048k,nr_inodes=100,mode=1770,uid=7") {
			t.Errorf("output:\n%s", out)
		}
	})
	t.Run("a bad option names the option", func(t *testing.T) {
		tr := n.newTrial(t)
		tr.mount(specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"size=banana"}})
		if err := tr.start(); err == nil || !strings.Contains(err.Error(), "mount tmpfs on /t: option size=banana: invalid argument") {
			t.Errorf("error %v", err)
		}
	})
}

func TestPropagation(t *testing.T) {
	n := newNode(t, build(t))
	for _, c := range []struct {
		name, option    string
		host            uintptr
		in, out, before bool // what propagates: mounts of the host into the container, those of the container out, those made between create and start
	}{
		{"private", "rprivate", syscall.MS_SHARED, false, false, false},
		{"none said", "rw", syscall.MS_SHARED, false, false, false},
		{"slave", "rslave", syscall.MS_SHARED, true, false, true},
		{"shared", "rshared", syscall.MS_SHARED, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := volume(t, c.host)
			testutil.Must(t, os.Mkdir(dir+"/before", 0o755))
			tr := n.newTrial(t, "wait:/v/go", "cat:/v/late/file", "cat:/v/before/file", "mount:/v/inner", "print:mounted", "wait:/v/end")
			tr.mayMount()
			tr.bind(dir, "/v", "rbind", c.option)
			testutil.Must(t, os.Mkdir(dir+"/inner", 0o755))
			testutil.Must(t, tr.create())
			mount := func(name string) {
				testutil.Must(t, syscall.Mount("late", dir+"/"+name, "tmpfs", 0, ""))
				testutil.Must(t, os.WriteFile(dir+"/"+name+"/file", []byte(name+" mount\n"), 0o644))
				t.Cleanup(func() { testutil.Must(t, syscall.Unmount(dir+"/"+name, syscall.MNT_DETACH)) })
			}
			mount("before")
			_, err := n.Start(bg(), tr.id)
			testutil.Must(t, err)
			mount("late")
			testutil.Must(t, os.WriteFile(dir+"/go", nil, 0o644))
			out := tr.awaitOutput("print mounted")
			if got := strings.Contains(out, "late mount"); got != c.in {
				t.Errorf("host's mount seen in the container: %t", got)
			}
			if got := strings.Contains(out, "before mount"); got != c.before {
				t.Errorf("host's mount between create and start seen in the container: %t", got)
			}
			data, err := os.ReadFile("/proc/self/mountinfo")
			testutil.Must(t, err)
			got := strings.Contains(string(data), " "+dir+"/inner ")
			if got != c.out {
				t.Errorf("container's mount seen on the host: %t", got)
			}
			if got {
				testutil.Must(t, syscall.Unmount(dir+"/inner", 0))
			}
			testutil.Must(t, os.WriteFile(dir+"/end", nil, 0o644))
			tr.wait()
		})
	}
	t.Run("root", func(t *testing.T) {
		for option, expect := range map[string]string{"rshared": " shared:", "": "", "private": "", "rslave": ""} {
			tr := n.newTrial(t, "cat:/proc/self/mountinfo")
			tr.spec.Linux.RootfsPropagation = option
			for line := range strings.Lines(tr.run()) {
				if f := strings.Fields(line); len(f) > 4 && f[4] == "/" && strings.Contains(line, " shared:") != (expect != "") {
					t.Errorf("%q: %s", option, line)
				}
			}
		}
	})
}

func TestCopyUp(t *testing.T) {
	n := newNode(t, build(t))
	for name, users := range map[string]bool{"plain": false, "in a user namespace": true} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t, "cat:/etc/passwd", "stat:/etc/passwd", "stat:/etc", "touch:/etc/made", "cat:/ro/deep/file", "touch:/ro/made", "link:/ro/link", "ls:/ro/v")
			if users {
				tr.mapUsers()
			} else {
				tr.opts.Root = n.newRoot(t, nil)
			}
			root := "/proc/self/fd/" + fdName(tr.opts.Root)
			testutil.Must(t, os.MkdirAll(root+"/ro/deep", 0o755))
			testutil.Must(t, os.WriteFile(root+"/ro/deep/file", []byte("of the image\n"), 0o644))
			testutil.Must(t, os.Symlink("/proc/1", root+"/ro/link"))
			tr.mount(specs.Mount{Destination: "/etc", Type: "tmpfs", Options: []string{"tmpcopyup", "size=1m", "mode=700", "nosuid"}})
			tr.mount(specs.Mount{Destination: "/ro", Type: "tmpfs", Options: []string{"tmpcopyup", "ro"}})
			tr.bind(volume(t, syscall.MS_PRIVATE), "/ro/v", "bind")
			out := tr.run()
			want(t, out, "root:x:0:0:root:/root:/bin/sh", "touched /etc/made", "of the image", "link /proc/1", "entry file ----------")
			for _, text := range []string{"stat /etc/passwd 100644 0:0 ", "stat /etc 40755 0:0 ", "touch:/ro/made error 30"} {
				if !strings.Contains(out, text) {
					t.Errorf("no %q in\n%s", text, out)
				}
			}
			if _, err := os.Stat(root + "/etc/made"); err == nil {
				t.Error("the image was written to")
			}
		})
	}
}

func TestRemount(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "touch:/v/made", "touch:/v/sub/made", "cat:/proc/self/mountinfo")
	dir := volume(t, syscall.MS_PRIVATE)
	tr.bind(dir, "/v", "rbind", "rprivate")
	tr.bind("", "/v", "remount", "bind", "ro", "noexec")
	tr.mount(specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"size=1m"}})
	tr.mount(specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"remount", "size=2m", "nodev"}})
	out := tr.run()
	want(t, out, "touched /v/sub/made")
	wantNot(t, out, "touched /v/made")
	for _, text := range []string{" /v ro,noexec,", " /t rw,nodev,", "size=2048k"} {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
	bad := n.newTrial(t)
	bad.bind("", "/etc", "remount", "bind", "ro")
	if err := bad.start(); err == nil || !strings.Contains(err.Error(), "remount /etc: invalid argument") {
		t.Errorf("of what is no mount: %v", err)
	}
}

// Every option of mount(8) that is about a mount itself, and its recursive form.
func TestEveryAttribute(t *testing.T) {
	n := newNode(t, build(t))
	for option, flag := range map[string]string{
		"ro": "ro", "nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "noatime": "noatime", "nodiratime": "nodiratime",
		"relatime": "relatime", "nosymfollow": "nosymfollow", "strictatime": "", "norelatime": "relatime", "nostrictatime": "",
	} {
		t.Run(option, func(t *testing.T) {
			for _, recursive := range []bool{false, true} {
				dir := volume(t, syscall.MS_PRIVATE)
				name := option
				if recursive {
					name = "r" + option
				}
				tr := n.newTrial(t, "cat:/proc/self/mountinfo")
				tr.bind(dir, "/v", "rbind", "rprivate", name)
				for line := range strings.Lines(tr.run()) {
					f := strings.Fields(line)
					if len(f) < 6 || f[4] != "/v" && f[4] != "/v/sub" || f[4] == "/v/sub" && !recursive {
						continue
					}
					has := strings.Contains(","+f[5]+",", ","+flag+",")
					if flag == "" {
						has = !strings.Contains(f[5], "atime")
					}
					if !has {
						t.Errorf("%s: %s has %s", name, f[4], f[5])
					}
				}
			}
		})
	}
	t.Run("undone", func(t *testing.T) {
		dir := volume(t, syscall.MS_PRIVATE)
		tr := n.newTrial(t, "cat:/proc/self/mountinfo")
		tr.bind(dir, "/v", "rbind", "rprivate", "ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow", "noatime",
			"rw", "suid", "dev", "exec", "diratime", "symfollow", "atime", "sync", "acl", "silent")
		for line := range strings.Lines(tr.run()) {
			if f := strings.Fields(line); len(f) > 5 && f[4] == "/v" && f[5] != "rw,relatime" {
				t.Errorf("flags %s", f[5])
			}
		}
		if !strings.Contains(n.warned.String(), "option sync has no effect there") {
			t.Errorf("no warning in\n%s", n.warned)
		}
	})
}
