package pod_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// Whom the host knows the root of a test's pod as.
const (
	mappedUID = 1 << 16
	mappedGID = 2 << 16
)

func users(t *testing.T, n *node) {
	idRange := func(host uint32) []spec.IDMapping { return []spec.IDMapping{{HostID: host, Length: 1 << 16}} }
	id := n.pod("users", func(p *spec.PodConfig) {
		p.Security.Namespaces.User = &spec.UserNamespace{UIDs: idRange(mappedUID), GIDs: idRange(mappedGID)}
		p.Sysctls = map[string]string{"kernel.shm_rmid_forced": "1", "net.ipv4.ip_unprivileged_port_start": "81"}
	})
	own := func(c *spec.ContainerConfig) { c.Security.Namespaces.PID = spec.NamespaceContainer }
	c := n.run(id, "own", own, "ids", "pid", "cat:/proc/self/uid_map", "touch:/etc/hosts", "touch:/vol/made", "stat:/vol", "touch:/dev/shm/made",
		"host", "cat:/proc/sys/kernel/shm_rmid_forced", "cat:/proc/sys/net/ipv4/ip_unprivileged_port_start", "loop")
	n.logged(c, "loop")
	for _, text := range []string{
		"ids 0 0 0 0", "pid 1 0", fmt.Sprintf("0      %d      65536", mappedUID), "touched /etc/hosts", "touched /vol/made", "0:0", "touched /dev/shm/made",
		"host users-host", " F 1\n", " F 81\n",
	} {
		n.logged(c, text)
	}
	shared := n.run(id, "shared", func(c *spec.ContainerConfig) { c.Security.Namespaces.PID = spec.NamespacePod }, "cat:/proc/1/comm", "ids", "loop")
	n.logged(shared, "pause")
	n.logged(shared, "ids 0 0 0 0")
	check := func() {
		for _, c := range []string{c, shared} {
			r, err := n.exec(c, 0, "ids", "cat:/proc/self/gid_map")
			if err != nil || !strings.Contains(string(r.Stdout), fmt.Sprintf("0     %d      65536", mappedGID)) {
				t.Errorf("exec: %+v, %v", r, err)
			}
		}
	}
	check()
	s, err := n.Container(t.Context(), c)
	testutil.Must(t, err)
	info, err := os.Stat(fmt.Sprintf("/proc/%d/ns/user", s.PID))
	testutil.Must(t, err)
	p, err := n.Pod(t.Context(), id)
	testutil.Must(t, err)
	pin := strings.TrimSuffix(p.Netns, "net") + "user"
	pinned, err := os.Stat(pin)
	testutil.Must(t, err)
	if !os.SameFile(info, pinned) {
		t.Error("the container is in another user namespace than the pod's")
	}
	mappedVolumes(t, n, id, idRange)
	privileged := n.run(id, "privileged", func(c *spec.ContainerConfig) { own(c); c.Security.Privileged = true },
		"touch:/dev/null", "write:/proc/sys/kernel/core_pattern=x", "status", "loop")
	n.logged(privileged, "loop")
	n.logged(privileged, "touched /dev/null")
	n.logged(privileged, "core_pattern=x error 13") // the host's
	created := n.container(id, "created", own, "ids", "loop")
	n.stop()
	n.start()
	check()
	testutil.Must(t, n.StartContainer(t.Context(), created))
	n.logged(created, "ids 0 0 0 0")
	testutil.Must(t, n.RemovePod(t.Context(), id))
	if _, err := os.Stat(pin); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pin is left: %v", err)
	}
	if err := n.UserNamespaces(); err != nil {
		t.Errorf("not supported: %v", err)
	}
}

// mappedVolumes are a folder of the host's root and an image, both of which the pod's root owns.
func mappedVolumes(t *testing.T, n *node, id string, idRange func(uint32) []spec.IDMapping) {
	t.Helper()
	dir := t.TempDir()
	testutil.Must(t, os.WriteFile(dir+"/secret", []byte("of the host's root"), 0o600))
	c, err := n.CreateContainer(t.Context(), id, spec.ContainerConfig{
		Name: "volumes", Image: "probe", Command: []string{"/bin/probe"}, Args: []string{"cat:/v/secret", "touch:/v/made", "stat:/image/vol", "print:end"},
		LogPath: "volumes.log", Security: spec.ContainerSecurity{Namespaces: spec.Namespaces{PID: spec.NamespaceContainer}},
		Mounts: []spec.Mount{
			{ContainerPath: "/v", HostPath: dir, UIDs: idRange(mappedUID), GIDs: idRange(mappedGID)},
			{ContainerPath: "/image", Image: &spec.ImageVolume{Image: "probe"}, UIDs: idRange(mappedUID), GIDs: idRange(mappedGID)},
		},
	})
	if errors.Is(err, errdefs.ErrNotSupported) {
		t.Logf("no ID-mapped mounts here: %v", err)
		return
	}
	testutil.Must(t, err)
	testutil.Must(t, n.StartContainer(t.Context(), c))
	for _, text := range []string{"print end", "of the host's root", "touched /v/made", "stat /image/vol 41777 0:0"} {
		n.logged(c, text)
	}
	var st syscall.Stat_t
	testutil.Must(t, syscall.Stat(dir+"/made", &st))
	if st.Uid != 0 || st.Gid != 0 {
		t.Errorf("made by the pod's root: %d:%d on the disk", st.Uid, st.Gid)
	}
}
