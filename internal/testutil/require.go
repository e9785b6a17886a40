package testutil

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// skipPrefix begins every counted skip, so that a run can list the reasons.
const skipPrefix = "SKIP-REASON: "

// Skip skips the test for a reason that the test run counts and prints.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Skip(skipPrefix + fmt.Sprintf(format, args...))
}

// RequireRoot skips without root.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root")
	}
}

// RequireKernel skips on kernels older than major.minor.
func RequireKernel(t testing.TB, major, minor int) {
	t.Helper()
	var u syscall.Utsname
	Must(t, syscall.Uname(&u))
	var release strings.Builder
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release.WriteByte(byte(c))
	}
	var haveMajor, haveMinor int
	if _, err := fmt.Sscanf(release.String(), "%d.%d", &haveMajor, &haveMinor); err != nil {
		t.Fatalf("kernel release %q: %v", release.String(), err)
	}
	if haveMajor < major || haveMajor == major && haveMinor < minor {
		Skip(t, "needs Linux %d.%d, this is %s", major, minor, release.String())
	}
}

// RequireFilesystem skips where the kernel does not know the file system (it is not loaded for the test).
func RequireFilesystem(t testing.TB, name string) {
	t.Helper()
	data, err := os.ReadFile("/proc/filesystems")
	Must(t, err)
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == name {
			return
		}
	}
	Skip(t, "the kernel has no %s file system", name)
}

// RequireTool skips when a program is not installed, and returns its path otherwise.
func RequireTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Skip(t, "%s is not installed", name)
	}
	return path
}

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
