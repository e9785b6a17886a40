package container_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// The processes of a container and of an exec join a class of service. Its folder is a fake, as the suite has no processor
// with RDT: both write to a file that is there already.
func TestIntelRdt(t *testing.T) {
	root := t.TempDir()
	testutil.Must(t, os.MkdirAll(root+"/gold", 0o755))
	for name, content := range map[string]string{"schemata": "    L3:0=f;1=f\n", "tasks": ""} {
		testutil.Must(t, os.WriteFile(root+"/gold/"+name, []byte(content), 0o644))
	}
	n := newNode(t, build(t))
	n.resctrl = root
	n.shutdown(t)
	n.boot(t)
	joined := func() bool {
		data, err := os.ReadFile(root + "/gold/tasks")
		testutil.Must(t, errors.Join(err, os.Truncate(root+"/gold/tasks", 0)))
		return string(data) == "0"
	}
	tr := n.newTrial(t, "loop")
	tr.spec.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=f"}
	testutil.Must(t, tr.start())
	if !joined() {
		t.Error("the container has not joined")
	}
	_, _, err := tr.exec(nil, "args")
	testutil.Must(t, err)
	if !joined() {
		t.Error("the exec has not joined")
	}
	t.Run("another schema", func(t *testing.T) {
		tr := n.newTrial(t)
		tr.spec.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=1"}
		if err := tr.create(); !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "linux.intelRdt: ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no resctrl", func(t *testing.T) {
		n.resctrl = ""
		n.shutdown(t)
		n.boot(t)
		tr := n.newTrial(t)
		tr.spec.Linux.IntelRdt = &specs.LinuxIntelRdt{}
		if err := tr.create(); !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "linux.intelRdt: no resctrl") {
			t.Errorf("error %v", err)
		}
	})
}
