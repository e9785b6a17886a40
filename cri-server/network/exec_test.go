package network_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
)

// A plugin lives for milliseconds: it gets one thread and late timers, but for what the daemon's own environment says.
func TestPluginsAreStartedForAShortLife(t *testing.T) {
	t.Setenv("GODEBUG", "")
	t.Setenv("GOMAXPROCS", "3")
	w := newWorld(t, nil)
	w.write("10-net.conflist", list("net", "meter"))
	seen := filepath.Join(w.dir, "seen")
	w.plugin("meter", `[ $CNI_COMMAND != ADD ] || echo "$GOMAXPROCS $GODEBUG" $(cat /proc/self/timerslack_ns) > `+seen+"\n"+good)
	_, err := w.Setup(t.Context(), pod("a"))
	testutil.Must(t, err)
	data, err := os.ReadFile(seen)
	testutil.Must(t, err)
	if got, want := strings.TrimSpace(string(data)), "3 containermaxprocs=0 500000"; got != want {
		t.Errorf("plugin saw %q, want %q", got, want)
	}
	testutil.Must(t, w.Teardown(t.Context(), pod("a")))
}
