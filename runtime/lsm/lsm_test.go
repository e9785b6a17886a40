package lsm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestLoaded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profiles")
	list := "berth-default (enforce)\nwith (odd) name (complain)\n/usr/bin/man (enforce)\nlast (unconfined)"
	testutil.Must(t, os.WriteFile(file, []byte(list), 0o600))
	for name, expect := range map[string]bool{
		"berth-default": true, "with (odd) name": true, "/usr/bin/man": true, "last": true,
		"berth": false, "default": false, "berth-default (enforce)": false, "": false, "man": false, "name": false,
	} {
		ok, err := loaded(file, name)
		testutil.Must(t, err)
		if ok != expect {
			t.Errorf("%q: %t", name, ok)
		}
	}
	testutil.Must(t, os.Truncate(file, maxProfiles+1))
	if _, err := loaded(file, "x"); !errors.Is(err, errdefs.ErrExhausted) {
		t.Errorf("a list without end: %v", err)
	}
	if _, err := loaded(file+"-none", "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no list: %v", err)
	}
}

func FuzzListed(f *testing.F) {
	f.Add("a (enforce)\nb (c) (complain)\n", "b (c)")
	f.Fuzz(func(t *testing.T, list, name string) {
		if listed(list, name) && !strings.Contains("\n"+list, "\n"+name+" (") {
			t.Fatalf("%q in %q", name, list)
		}
	})
}

func TestProfileNames(t *testing.T) {
	for _, name := range []string{"x", "localhost-x", "/usr/bin/x y", "a//&b"} {
		if err := CheckProfile(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a\nb", "a\x00", "\x7f", strings.Repeat("x", 4097)} {
		if err := CheckProfile(name); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}

// The folder is a fake: neither this suite's machine nor its virtual one runs SELinux.
func TestSELinuxNeedsItsFileSystem(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/no/such/folder", "/proc"} {
		if on, err := selinuxMounted(path); on || err != nil {
			t.Errorf("%s: %t, %v", path, on, err)
		}
	}
}

func TestDetect(t *testing.T) {
	have, err := Detect()
	testutil.Must(t, err)
	list, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		testutil.Skip(t, "the kernel's own list of security modules can't be read: %v", err)
	}
	for name, on := range map[string]bool{"apparmor": have.AppArmor, "selinux": have.SELinux} {
		if strings.Contains(string(list), name) != on {
			t.Errorf("%s is %t, the kernel has %s", name, on, list)
		}
	}
}

// The parser compiles the profile wherever it is installed; loading it needs the module.
func TestDefaultProfileCompiles(t *testing.T) {
	program, err := exec.LookPath(parser)
	if err != nil {
		testutil.Skip(t, "%s is not installed", parser)
	}
	cmd := exec.CommandContext(t.Context(), program, "--skip-kernel-load", "--skip-cache", "--stdout")
	cmd.Stdin = strings.NewReader(profileText())
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || len(out) == 0 {
		t.Errorf("%v, %d bytes\n%s", err, len(out), said.String())
	}
}

func TestDefaultProfileIsLoaded(t *testing.T) {
	have, err := Detect()
	testutil.Must(t, err)
	if !have.AppArmor || !CanLoad() {
		testutil.Skip(t, "AppArmor is off, or its parser is missing")
	}
	for range 2 { // the second time it is there
		testutil.Must(t, EnsureDefault(t.Context()))
	}
	ok, err := Loaded(DefaultProfile)
	testutil.Must(t, err)
	if !ok {
		t.Error("it is not on the list")
	}
}
