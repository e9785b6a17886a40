package prepare

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/lsm"
	"github.com/berth-runtime/berth/runtime/plan"
)

// ReadFacts asks the kernel what plans depend on. What forks (the keeper, or this process) runs as the same user in the
// same environment, so that its capabilities and limits are ours.
func ReadFacts(host *cgroup.Host) (plan.Facts, error) {
	f := plan.Facts{HardLimits: make(map[string]uint64), CgroupV2: host.Mode() == cgroup.V2}
	for _, h := range host.Hierarchies() {
		f.Hierarchies = append(f.Hierarchies, plan.Hierarchy{Mount: h.Mount, V2: h.V2, Options: h.Options})
	}
	for i, name := range plan.RlimitNames() {
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(i, &limit); err != nil {
			return f, fmt.Errorf("read limit %s: %w", name, err)
		}
		f.HardLimits[name] = limit.Max
	}
	var err error
	f.LastCap = sys.LastCapability()
	if f.OOMScoreAdj, err = readNumber("/proc/self/oom_score_adj"); err != nil {
		return f, err
	}
	if f.LSM, err = lsm.Detect(); err != nil {
		return f, err
	}
	if f.Caps, err = sys.PermittedCapabilities(); err != nil {
		return f, fmt.Errorf("read own capabilities: %w", err)
	}
	return f, checkRoot()
}

// checkRoot refuses to work in a mount namespace whose root lies hidden below another mount: after pivot_root that one
// would be detached and the root stay, on top of the container's, for the next exec to enter.
func checkRoot() (err error) {
	var ids [2]uint64
	for i, path := range []string{"/", "/proc/.."} {
		f, err := sys.Openat2(nil, path, sys.OPath|syscall.O_DIRECTORY, 0, 0)
		if err != nil {
			return fmt.Errorf("look at the root's mount: %w", err)
		}
		ids[i], err = sys.MountID(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("look at the root's mount: %w", err)
		}
	}
	if ids[0] != ids[1] {
		return errdefs.NotSupported("another file system is mounted over /: start berth with that as its root (chroot or pivot_root into it)")
	}
	return nil
}

func readNumber(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}
