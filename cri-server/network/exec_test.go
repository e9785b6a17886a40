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
	for own, want := range map[string]string{"": "1 500000", "3": "3 500000"} {
		t.Setenv("GOMAXPROCS", own)
		w := newWorld(t, nil)
		w.write("10-net.conflist", list("net", "meter"))
		seen := filepath.Join(w.dir, "seen")
		w.plugin("meter", `[ $CNI_COMMAND != ADD ] || echo "$GOMAXPROCS" $(cat /proc/self/timerslack_ns) > `+seen+"\n"+good)
		_, err := w.Setup(t.Context(), pod("a"))
		testutil.Must(t, err)
		data, err := os.ReadFile(seen)
		testutil.Must(t, err)
		if got := strings.TrimSpace(string(data)); got != want {
			t.Errorf("GOMAXPROCS=%s: plugin saw %q, want %q", own, got, want)
		}
		testutil.Must(t, w.Teardown(t.Context(), pod("a")))
	}
}
