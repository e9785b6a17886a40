package container_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// uptime reads what the probe has from /proc/uptime in the last line.
func uptime(t *testing.T, out string) (seconds float64) {
	t.Helper()
	if _, err := fmt.Sscan(out, &seconds); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return seconds
}

func TestTimeNamespace(t *testing.T) {
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		testutil.Skip(t, "this kernel has no time namespaces: %v", err)
	}
	n := newNode(t, build(t))
	const year = 365 * 86400
	for name, change := range map[string]func(*trial){
		"new":                     func(*trial) {},
		"new in a user namespace": (*trial).mapUsers,
		"new in another's PID namespace": func(tr *trial) {
			first := n.newTrial(t, "loop")
			testutil.Must(t, first.start())
			pid, err := n.PID(first.id)
			testutil.Must(t, err)
			for i := range tr.spec.Linux.Namespaces {
				if ns := &tr.spec.Linux.Namespaces[i]; ns.Type == specs.PIDNamespace {
					ns.Path = fmt.Sprintf("/proc/%d/ns/pid", pid)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t, "cat:/proc/uptime", "loop")
			tr.spec.Linux.Namespaces = append(tr.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			tr.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 100 * year}, "monotonic": {Secs: year, Nanosecs: 5}}
			change(tr)
			testutil.Must(t, tr.start())
			if s := uptime(t, tr.awaitOutput("loop")); s < 100*year {
				t.Errorf("up for %f s", s)
			}
			out, _, err := tr.exec(nil, "cat:/proc/uptime")
			testutil.Must(t, err)
			if s := uptime(t, out); s < 100*year {
				t.Errorf("exec: up for %f s", s)
			}
			pid, err := n.PID(tr.id)
			testutil.Must(t, err)
			joins := n.newTrial(t, "cat:/proc/uptime")
			joins.spec.Linux.Namespaces = append(joins.spec.Linux.Namespaces,
				specs.LinuxNamespace{Type: specs.TimeNamespace, Path: fmt.Sprintf("/proc/%d/ns/time", pid)})
			if s := uptime(t, joins.run()); s < 100*year {
				t.Errorf("joined: up for %f s", s)
			}
		})
	}
}

func TestJoinMountNamespace(t *testing.T) {
	n := newNode(t, build(t))
	first := n.newTrial(t, "loop")
	testutil.Must(t, first.start())
	first.awaitOutput("loop")
	pid, err := n.PID(first.id)
	testutil.Must(t, err)
	join := func(tr *trial, path string) {
		for i := range tr.spec.Linux.Namespaces {
			if ns := &tr.spec.Linux.Namespaces[i]; ns.Type == specs.MountNamespace {
				ns.Path = path
			}
		}
	}
	tr := n.newTrial(t, "link:/proc/self/ns/mnt", "cat:/etc/passwd")
	join(tr, fmt.Sprintf("/proc/%d/ns/mnt", pid))
	wanted, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	testutil.Must(t, err)
	want(t, tr.run(), "link "+wanted, "root:x:0:0:root:/root:/bin/sh")

	host := n.newTrial(t, "loop")
	join(host, "/proc/self/ns/mnt")
	if err := host.create(); err == nil || !strings.Contains(err.Error(), "is the host's") {
		t.Errorf("the host's own: %v", err)
	}
}
