package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/atomicfile"
)

// builtBusybox is a static busybox and the applets in it.
type builtBusybox struct {
	path    string
	applets []string
}

// busyboxOptions changes the default configuration. The two FEATURE_ options would make the shell run applets in itself
// instead of the files in /bin; the rest needs headers or libraries that a build machine need not have.
var busyboxOptions = []struct{ name, value string }{
	{"CONFIG_STATIC", "y"},
	{"CONFIG_FEATURE_SH_STANDALONE", "n"},
	{"CONFIG_FEATURE_PREFER_APPLETS", "n"},
	{"CONFIG_FEATURE_SH_NOFORK", "n"},
	{"CONFIG_TC", "n"}, // uses queueing disciplines that newer kernel headers dropped
	{"CONFIG_PAM", "n"},
	{"CONFIG_SELINUX", "n"},
	{"CONFIG_FEATURE_MOUNT_NFS", "n"},
	{"CONFIG_FEATURE_INETD_RPC", "n"},
}

// buildBusybox compiles busybox from the distribution's source package, once; later calls find it in the cache folder.
func buildBusybox(ctx context.Context, cache string) (builtBusybox, error) {
	binary := filepath.Join(cache, "busybox")
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		if err := compileBusybox(ctx, cache, binary); err != nil {
			return builtBusybox{}, fmt.Errorf("build busybox: %w", err)
		}
	}
	list, err := exec.CommandContext(ctx, binary, "--list").Output()
	if err != nil {
		return builtBusybox{}, fmt.Errorf("list the applets of %s: %w", binary, err)
	}
	return builtBusybox{path: binary, applets: strings.Fields(string(list))}, nil
}

func compileBusybox(ctx context.Context, cache, binary string) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	src, obj := filepath.Join(work, "src"), filepath.Join(work, "obj")
	if err := fetchSource(ctx, work, src, "busybox"); err != nil {
		return err
	}
	if err := os.Mkdir(obj, 0o755); err != nil {
		return err
	}
	if err := run(ctx, src, "make", "-s", "O="+obj, "defconfig"); err != nil {
		return err
	}
	if err := configure(filepath.Join(obj, ".config")); err != nil {
		return err
	}
	if err := run(ctx, obj, "sh", "-c", `yes "" | make -s oldconfig`); err != nil {
		return err
	}
	if err := run(ctx, obj, "make", "-s", "-j"+strconv.Itoa(runtime.NumCPU()), "busybox"); err != nil {
		return err
	}
	return os.Rename(filepath.Join(obj, "busybox"), binary)
}

// configure applies busyboxOptions to a .config file.
func configure(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	set := map[string]string{}
	for _, o := range busyboxOptions {
		set[o.name] = o.value
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "# "), "=")
		name, _, _ = strings.Cut(name, " ")
		switch set[strings.TrimSpace(name)] {
		case "y":
			line = name + "=y\n"
		case "n":
			line = "# " + name + " is not set\n"
		}
		out.WriteString(line)
	}
	return atomicfile.Write(path, []byte(out.String()), 0o644)
}

// run runs a program in a folder; its output is in the error.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "KCONFIG_NOTIMESTAMP=1", "SOURCE_DATE_EPOCH=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(out, 4000))
	}
	return nil
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
