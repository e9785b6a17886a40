package pod

import (
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// The machine is a fake: neither this suite's nor its virtual one runs SELinux. Files are labelled for real in runtime/lsm.
func TestFilesOfALabelledContainer(t *testing.T) {
	for _, on := range []bool{true, false} {
		w := newWorld(t)
		w.selinux = on
		m := w.manager()
		podID, err := m.RunPod(t.Context(), podConfig("web"))
		if err != nil {
			t.Fatal(err)
		}
		cfg := containerConfig("main")
		cfg.Security.SELinux = &spec.SELinux{Level: "s0:c1,c2"}
		cfg.Mounts = []spec.Mount{{ContainerPath: "/a", HostPath: "/srv/a", SELinuxRelabel: true}, {ContainerPath: "/b", HostPath: "/srv/b"}}
		id, err := m.CreateContainer(t.Context(), podID, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.StartContainer(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{"root": true, "/srv/a": true, m.podFile(podID, hostsFile): true, m.podFile(podID, hostnameFile): true, m.podFile(podID, resolvFile): true, m.shmPath(podID): true}
		w.mu.Lock()
		for file, label := range w.labels {
			if !on || !want[file] || label != "system_u:object_r:container_file_t:s0:c1,c2" {
				t.Errorf("SELinux %t: %s is labelled %s", on, file, label)
			}
		}
		if on && len(w.labels) != len(want) {
			t.Errorf("labels %v, want those of %v", w.labels, want)
		}
		w.mu.Unlock()
	}
}

func TestLabelsThatCantBeGiven(t *testing.T) {
	w := newWorld(t)
	w.selinux = true
	m := w.manager()
	podID, err := m.RunPod(t.Context(), podConfig("web"))
	if err != nil {
		t.Fatal(err)
	}
	w.setFail("relabel", errdefs.ErrPermission)
	cfg := containerConfig("main")
	cfg.Security.SELinux = &spec.SELinux{Level: "s0:c1,c2"}
	if _, err := m.CreateContainer(t.Context(), podID, cfg); err == nil || !strings.Contains(err.Error(), "SELinux label") {
		t.Errorf("error %v", err)
	}
}
