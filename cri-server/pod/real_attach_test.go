package pod_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// attachFirst wants everything from the first byte on, for a client that comes when the container has ended, and nothing
// to stay open for one that never comes.
func attachFirst(t *testing.T, n *node) {
	id := n.pod("attach-first", nil)
	for _, tty := range []bool{false, true} {
		c := n.container(id, fmt.Sprintf("main-%t", tty), func(c *spec.ContainerConfig) { c.TTY, c.Stdin, c.StdinOnce = tty, true, true }, "print:FIRST", "line")
		testutil.Must(t, n.ReserveAttach(t.Context(), c, true, true, false))
		testutil.Must(t, n.ReserveAttach(t.Context(), c, true, true, false)) // the last one counts
		testutil.Must(t, n.StartContainer(t.Context(), c))
		var out sharedBuffer
		testutil.Must(t, n.Attach(t.Context(), c, pod.AttachStream{Stdin: strings.NewReader("typed\n"), Stdout: &out}))
		// A terminal echoes what is typed at once, so that may come before what the process says.
		if got := out.String(); !strings.Contains(got, "print FIRST") || !tty && !strings.HasPrefix(got, "print FIRST") || !strings.Contains(got, `line "typed\n"`) {
			t.Errorf("tty %t: got %q", tty, got)
		}
		if err := n.ReserveAttach(t.Context(), c, true, true, false); !errors.Is(err, errdefs.ErrFailedPrecondition) {
			t.Errorf("a place at a container that has started: %v", err)
		}
	}
	other := n.container(id, "other", nil, "print:x")
	testutil.Must(t, n.ReserveAttach(t.Context(), other, false, true, true))
	testutil.Must(t, n.RemovePod(t.Context(), id))
}
