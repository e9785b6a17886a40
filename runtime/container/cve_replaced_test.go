package container_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// Between create and start a neighbour on a shared volume has all the time that it wants to put a link in place of what was
// resolved. Links are refused in the child, too: one to another place of the same volume leaves the volume nowhere, so that
// nothing else would stop it.
func TestCVE_2021_30465_2024_45310_TargetsReplacedBeforeStart(t *testing.T) {
	n := newNode(t, build(t))
	for name, use := range map[string]func(tr *trial, path string){
		"mounted on": func(tr *trial, path string) {
			tr.mount(specs.Mount{Destination: path, Type: "tmpfs", Source: "tmpfs"})
		},
		"masked": func(tr *trial, path string) {
			tr.spec.Linux.MaskedPaths = append(tr.spec.Linux.MaskedPaths, path)
		},
		"read-only": func(tr *trial, path string) {
			tr.spec.Linux.ReadonlyPaths = append(tr.spec.Linux.ReadonlyPaths, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			shared := t.TempDir()
			testutil.Must(t, os.Mkdir(shared+"/target", 0o755))
			testutil.Must(t, os.Mkdir(shared+"/other", 0o755))
			tr := n.newTrial(t, "ls:/shared")
			tr.bind(shared, "/shared", "rbind")
			use(tr, "/shared/target")
			testutil.Must(t, tr.create())
			testutil.Must(t, os.Remove(shared+"/target"))
			testutil.Must(t, os.Symlink("other", shared+"/target"))
			if _, err := n.Start(bg(), tr.id); !errors.Is(err, syscall.ELOOP) {
				t.Errorf("started with a link in place of its target: %v", err)
			}
		})
	}
}
