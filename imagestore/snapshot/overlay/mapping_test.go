package overlay

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// userNamespace returns one in which 0 to 65535 are the host's users from 100000 and groups from 200000 on.
func userNamespace(t *testing.T) *os.File {
	t.Helper()
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	must(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{HostID: 200000, Size: 65536}},
	}
	must(t, cmd.Start())
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	must(t, err)
	must(t, in.Close())
	must(t, cmd.Wait())
	t.Cleanup(func() { must(t, ns.Close()) })
	return ns
}

// mappedDriver is a store that can map.
func mappedDriver(t *testing.T) (*Driver, *os.File) {
	t.Helper()
	d, _ := newDriver(t)
	users := userNamespace(t)
	if err := d.ProbeMapping(users); errors.Is(err, errdefs.ErrNotSupported) {
		testutil.Skip(t, "%v", err)
	} else {
		must(t, err)
	}
	return d, users
}

func owner(t *testing.T, path string) string {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Lstat(path, &st))
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

func TestMappedOwners(t *testing.T) {
	d, users := mappedDriver(t)
	theirs := file("etc/theirs", "x")
	theirs.Uid, theirs.Gid = 1000, 1001
	layers := []digest.Digest{
		apply(t, d, tarOf(t, dir("./"), dir("etc/"), file("etc/a", "a"), theirs)),
		apply(t, d, tarOf(t, file("etc/b", "b"))),
	}
	ways := []mounter{byCall, byPath, byFile} // the newest that the kernel knows is the driver's
	ways = ways[:slices.Index(ways, d.how)+1]
	for _, how := range ways {
		t.Run(string(how), func(t *testing.T) {
			old := d.how
			defer func() { d.how = old }()
			d.how = how
			key := "k-" + string(how)
			must(t, d.Prepare(t.Context(), key, layers))
			for range 2 { // also after a restart
				m, err := d.Mount(t.Context(), key, snapshot.As{Users: users})
				must(t, err)
				path := attach(t, m)
				for name, want := range map[string]string{
					"": "100000:200000", "etc": "100000:200000", "etc/a": "100000:200000", "etc/b": "100000:200000", "etc/theirs": "101000:201001",
				} {
					if got := owner(t, filepath.Join(path, name)); got != want {
						t.Errorf("%q belongs to %s, want %s", name, got, want)
					}
				}
				must(t, os.WriteFile(filepath.Join(path, "etc/theirs"), []byte("copied up"), 0o644))
				if got := owner(t, filepath.Join(path, "etc/theirs")); got != "101000:201001" {
					t.Errorf("copied up: %s", got)
				}
				must(t, syscall.Unmount(path, 0))
			}
		})
	}
	var major, minor int
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	must(t, err)
	_, err = fmt.Sscanf(string(release), "%d.%d", &major, &minor)
	must(t, err)
	if known, old := d.attached.Load(), major < 6 || major == 6 && minor < 15; known != old {
		t.Errorf("mapped layers must be attached: %t, on Linux %d.%d", known, major, minor)
	}
	// As on kernels before 6.15, which take nothing else.
	for _, how := range ways {
		t.Run("attached, "+string(how), func(t *testing.T) {
			old := d.how
			defer func() { d.how = old }()
			d.how = how
			key := "a-" + string(how)
			must(t, d.Prepare(t.Context(), key, layers))
			a := &attachment{name: key, users: users}
			must(t, a.openLower(d, []digest.Digest{layers[1], layers[0]}))
			var err error
			a.upper, err = d.snapshots.OpenDirBeneath(key + "/upper")
			must(t, err)
			a.work, err = d.snapshots.OpenDirBeneath(key + "/work")
			must(t, err)
			plain, err := a.mapLower()
			must(t, err)
			for _, l := range plain {
				must(t, l.Close())
			}
			known := d.attached.Swap(true)
			m, err := d.mountShown(a, 0)
			d.attached.Store(known)
			must(t, err)
			if a.tmp == nil {
				t.Error("layers were not attached, though that is known to be needed")
			}
			must(t, a.close())
			path := attach(t, m)
			if got := owner(t, path+"/etc/theirs"); got != "101000:201001" {
				t.Errorf("etc/theirs belongs to %s", got)
			}
			must(t, os.WriteFile(path+"/etc/theirs", []byte("copied up"), 0o644))
		})
	}
	for _, l := range [][]digest.Digest{layers, layers[:1]} {
		v, err := d.View(t.Context(), l, snapshot.As{Users: users})
		must(t, err)
		if got := owner(t, filepath.Join(attach(t, v), "etc/theirs")); got != "101000:201001" {
			t.Errorf("a view of %d layers shows %s", len(l), got)
		}
	}
}
