package container_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/lsm"
)

func TestAppArmor(t *testing.T) {
	n := newNode(t, build(t))
	have, err := lsm.Detect()
	testutil.Must(t, err)
	if !have.AppArmor {
		tr := n.newTrial(t)
		tr.spec.Process.ApparmorProfile = lsm.DefaultProfile
		if err := tr.create(); !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "process.apparmorProfile: ") {
			t.Errorf("error %v", err)
		}
		testutil.Skip(t, "AppArmor is off; that a profile is refused was tested")
	}
	if !lsm.CanLoad() {
		testutil.Skip(t, "apparmor_parser is not installed")
	}
	testutil.Must(t, lsm.EnsureDefault(t.Context()))

	t.Run("default profile", func(t *testing.T) {
		tr := n.newTrial(t, "cat:/proc/self/attr/apparmor/current", "mount:/tmp", "openw:/proc/sys/vm/swappiness", "write:/tmp/own=x", "cat:/tmp/own", "loop")
		tr.spec.Process.ApparmorProfile = lsm.DefaultProfile
		tr.spec.Linux.ReadonlyPaths = nil
		for _, set := range []*[]string{&tr.spec.Process.Capabilities.Bounding, &tr.spec.Process.Capabilities.Permitted, &tr.spec.Process.Capabilities.Effective} {
			*set = append(*set, "CAP_SYS_ADMIN")
		}
		testutil.Must(t, tr.start())
		out := tr.awaitOutput("loop")
		if !strings.HasPrefix(out, "berth-default (enforce)") {
			t.Errorf("profile of the container: %s", out)
		}
		if !strings.Contains(out, "openw:/proc/sys/vm/swappiness error 13") || !strings.Contains(out, "mount:/tmp error 13") {
			t.Errorf("not denied:\n%s", out)
		}
		inherited, _, err := tr.exec(func(p *specs.Process) { p.ApparmorProfile = "" }, "cat:/proc/self/attr/apparmor/current")
		testutil.Must(t, err)
		unconfined, _, err := tr.exec(func(p *specs.Process) { p.ApparmorProfile = "unconfined" }, "cat:/proc/self/attr/apparmor/current")
		testutil.Must(t, err)
		want(t, inherited, "berth-default (enforce)")
		want(t, unconfined, "unconfined")
		testutil.Must(t, n.Kill(bg(), tr.id)) // an unconfined process may
	})
	t.Run("no profile", func(t *testing.T) {
		want(t, n.newTrial(t, "cat:/proc/self/attr/apparmor/current").run(), "unconfined")
	})
	t.Run("no new privileges", func(t *testing.T) {
		tr := n.newTrial(t, "cat:/proc/self/attr/apparmor/current")
		tr.spec.Process.ApparmorProfile, tr.spec.Process.NoNewPrivileges = lsm.DefaultProfile, true
		want(t, tr.run(), "berth-default (enforce)")
	})
	t.Run("not loaded", func(t *testing.T) {
		tr := n.newTrial(t)
		tr.spec.Process.ApparmorProfile = "nowhere"
		if err := tr.start(); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), "apply AppArmor profile nowhere") {
			t.Errorf("error %v", err)
		}
	})
}
