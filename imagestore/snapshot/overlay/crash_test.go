package overlay

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

const crashRoot = "BERTH_TEST_CRASH_ROOT"

// TestCrash kills a process in the middle of Apply, of Commit, and with a mount in tmp. The next Open must find the
// committed layer, and nothing of the others.
func TestCrash(t *testing.T) {
	testutil.RequireRoot(t)
	if root := os.Getenv(crashRoot); root != "" {
		crash(t, root)
		return
	}
	root := filepath.Join(t.TempDir(), "store")
	for round := range 8 {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestCrash$")
		cmd.Env = append(os.Environ(), crashRoot+"="+root, "BERTH_TEST_CRASH_ROUND="+strconv.Itoa(round))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		ready := make([]byte, 1)
		_, err = io.ReadFull(out, ready)
		must(t, err)
		must(t, cmd.Process.Kill())
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
		d, err := Open(t.Context(), Config{Root: root})
		must(t, err)
		if left := list(t, filepath.Join(root, "tmp")); left != "" {
			t.Errorf("round %d left\n%s", round, left)
		}
		layers, err := d.Layers()
		must(t, err)
		if len(layers) != 1 {
			t.Errorf("round %d: layers %v", round, layers)
		}
		m, err := d.View(t.Context(), layers, snapshot.As{})
		must(t, err)
		if got := list(t, attach(t, m)); got != "f -rw-r--r-- committed\n" {
			t.Errorf("round %d: the layer holds\n%s", round, got)
		}
		must(t, d.Close())
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		must(t, err)
		if strings.Contains(string(mounts), root+"/tmp") {
			t.Errorf("round %d left a mount:\n%s", round, mounts)
		}
	}
}

// crash commits a layer, begins an other, writes a byte and waits for its end.
func crash(t *testing.T, root string) {
	d, err := Open(t.Context(), Config{Root: root})
	must(t, err)
	apply(t, d, tarOf(t, file("f", "committed")))
	round, err := strconv.Atoi(os.Getenv("BERTH_TEST_CRASH_ROUND"))
	must(t, err)
	data := tarOf(t, dir("a/b/c/"), file("a/b/c/f", strings.Repeat("x", 3<<20)), file("a/g", strings.Repeat("y", 1<<20)))
	if round == 7 { // as mountByCall is killed half way
		dir, err := d.tmp.File("tmp")
		must(t, err)
		must(t, os.Mkdir(root+"/tmp/mount-77", 0o700))
		must(t, syscall.Mount("none", root+"/tmp/mount-77", "tmpfs", 0, ""))
		must(t, dir.Close())
		os.Stdout.Write([]byte{'r'})
		select {}
	}
	stop := io.MultiReader(bytes.NewReader(data[:len(data)*round/6]), notifyReader{})
	_, _ = d.Apply(context.Background(), idOf(data), stop, layer.Limits{})
}

// notifyReader tells that everything before it was read, and never returns.
type notifyReader struct{}

func (notifyReader) Read([]byte) (int, error) {
	os.Stdout.Write([]byte{'r'})
	select {}
}

// TestUnpacksAsTarDoes compares with GNU tar: same names, types, modes, owners, times, contents and links.
func TestUnpacksAsTarDoes(t *testing.T) {
	gnutar := requireGNUTar(t)
	d, root := newDriver(t)
	for name, source := range map[string]string{"etc": "/etc", "hand-made": handMade(t)} {
		if _, err := os.Stat(source); err != nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, format := range []string{"gnu", "pax"} {
				archive := filepath.Join(t.TempDir(), "a.tar")
				out, err := exec.Command(gnutar, "-C", source, "--format="+format, "--sparse", "-cf", archive, ".").CombinedOutput()
				if err != nil {
					t.Fatalf("tar: %v: %s", err, out)
				}
				want := t.TempDir()
				if out, err := exec.Command(gnutar, "-C", want, "-xpf", archive, "--same-owner").CombinedOutput(); err != nil {
					t.Fatalf("tar: %v: %s", err, out)
				}
				data, err := os.ReadFile(archive)
				must(t, err)
				id := apply(t, d, data)
				got := filepath.Join(root, "layers", strings.Replace(string(id), ":", "-", 1), "fs")
				diff(t, want, got)
				must(t, d.RemoveLayer(t.Context(), id))
			}
		})
	}
}

func requireGNUTar(t *testing.T) string {
	t.Helper()
	path := testutil.RequireTool(t, "tar")
	if out, err := exec.Command(path, "--version").CombinedOutput(); err != nil || !strings.Contains(string(out), "GNU tar") {
		testutil.Skip(t, "needs GNU tar")
	}
	return path
}

// handMade is a tree with all that is rare.
func handMade(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	must(t, os.Chmod(path, 0o755))
	must(t, os.MkdirAll(filepath.Join(path, strings.Repeat("long-name-of-a-folder/", 12)), 0o755))
	must(t, os.WriteFile(filepath.Join(path, "a"), bytes.Repeat([]byte("abc"), 100000), 0o640))
	must(t, os.Link(filepath.Join(path, "a"), filepath.Join(path, "b")))
	must(t, os.Symlink("nowhere", filepath.Join(path, "dangling")))
	must(t, os.Link(filepath.Join(path, "dangling"), filepath.Join(path, "dangling2")))
	must(t, syscall.Mkfifo(filepath.Join(path, "fifo"), 0o600))
	must(t, syscall.Mknod(filepath.Join(path, "dev"), syscall.S_IFBLK|0o660, 8<<8|1))
	must(t, os.WriteFile(filepath.Join(path, "suid"), nil, 0o755))
	must(t, os.Chown(filepath.Join(path, "suid"), 33, 44))
	must(t, os.Chmod(filepath.Join(path, "suid"), 0o755|os.ModeSetuid|os.ModeSetgid))
	must(t, os.Mkdir(filepath.Join(path, "sticky"), 0o755))
	must(t, os.Chmod(filepath.Join(path, "sticky"), 0o777|os.ModeSticky))
	must(t, os.Mkdir(filepath.Join(path, "closed"), 0))
	sparse, err := os.Create(filepath.Join(path, "sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 40<<20)
	must(t, err)
	must(t, sparse.Close())
	return path
}

// diff compares two trees by what a container could see.
func diff(t *testing.T, want, got string) {
	t.Helper()
	names := map[string]bool{}
	for _, root := range []string{want, got} {
		must(t, filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
			names[strings.TrimPrefix(p, root)] = true
			return err
		}))
	}
	bad := 0
	for name := range names {
		a, b := describe(want+name), describe(got+name)
		if a != b {
			if bad++; bad < 10 {
				t.Errorf("%q: tar made %s, berth %s", name, a, b)
			}
		}
	}
	t.Logf("%d names compared", len(names))
}

func describe(path string) string {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err.Error()
	}
	s := strconv.FormatUint(uint64(st.Mode), 8) + " " + strconv.Itoa(int(st.Uid)) + ":" + strconv.Itoa(int(st.Gid)) + " " +
		sys.ModTime(&st).String() + " dev " + strconv.FormatUint(st.Rdev, 16)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		target, err := os.Readlink(path)
		return s + " -> " + target + errText(err)
	case syscall.S_IFREG:
		data, err := os.ReadFile(path)
		return s + " links " + strconv.Itoa(int(st.Nlink)) + " " + string(idOf(data)) + errText(err)
	}
	return s
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestHolesStay: what a sparse file leaves out is not written.
func TestHolesStay(t *testing.T) {
	gnutar := requireGNUTar(t)
	d, root := newDriver(t)
	source := handMade(t)
	for _, format := range []string{"gnu", "pax"} {
		out, err := exec.Command(gnutar, "-C", source, "--format="+format, "--sparse", "-cf", "-", "sparse").Output()
		must(t, err)
		id := apply(t, d, out)
		var st syscall.Stat_t
		must(t, syscall.Stat(filepath.Join(root, "layers", strings.Replace(string(id), ":", "-", 1), "fs/sparse"), &st))
		if st.Size != 40<<20+3 || st.Blocks*512 > 256<<10 {
			t.Errorf("%s: size %d, %d blocks", format, st.Size, st.Blocks)
		}
		if l, err := d.Layer(id); err != nil || l.Bytes > 256<<10 {
			t.Errorf("%s: Layer = %+v, %v", format, l, err)
		}
		must(t, d.RemoveLayer(t.Context(), id))
	}
}

// FuzzUnpack unpacks anything into a layer and, if that went well, commits, mounts and removes it.
func FuzzUnpack(f *testing.F) {
	testutil.RequireRoot(f)
	f.Add(tarOf(f, dir("a/"), file("a/b", "1"), symlink("l", "a"), file("l/c", "2"), hardlink("h", "l/c"), file("a/.wh.x", "")))
	f.Add(tarOf(f, symlink("a", "../../.."), file("a/etc/x", "1"), file("a", "2"), dir("a/")))
	f.Add(tarOf(f, file("d/.wh..wh..opq", ""), file(".wh.d", ""), dir("d/")))
	small := f.TempDir()
	must(f, syscall.Mount("tmpfs", small, "tmpfs", 0, "size=32m"))
	f.Cleanup(func() { must(f, syscall.Unmount(small, syscall.MNT_DETACH)) })
	d, err := Open(context.Background(), Config{Root: filepath.Join(small, "store")})
	must(f, err)
	f.Cleanup(func() { must(f, d.Close()) })
	limits := layer.Limits{Entries: 500, TotalBytes: 1 << 20, FileBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		id := idOf(data)
		p, err := d.Apply(t.Context(), id, bytes.NewReader(data), limits)
		if err == nil {
			must(t, p.Commit(t.Context()))
			m, err := d.View(t.Context(), []digest.Digest{id}, snapshot.As{})
			must(t, err)
			must(t, m.Close())
			must(t, d.RemoveLayer(t.Context(), id))
		}
		names, err := os.ReadDir(filepath.Join(small, "store", "tmp"))
		must(t, err)
		if len(names) > 0 {
			t.Fatalf("left in tmp: %v (%v)", names, err)
		}
	})
}
