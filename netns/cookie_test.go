package netns_test

import (
	"path/filepath"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// Numbers of inodes come back with the next namespace on many kernels; a cookie never does.
func TestCookiesAreNotUsedAgain(t *testing.T) {
	testutil.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "ns")
	seen := map[uint64]bool{}
	for range 20 {
		pins, err := netns.Create(t.Context(), netns.Config{Dir: dir, Net: true})
		testutil.Must(t, err)
		ns, err := netns.Open(pins.Net)
		testutil.Must(t, err)
		cookie, err := ns.Cookie()
		testutil.Must(t, err)
		if again, err := ns.Cookie(); err != nil || again != cookie || seen[cookie] {
			t.Errorf("cookies %d and %d, %v; seen before: %v", cookie, again, err, seen[cookie])
		}
		seen[cookie] = true
		testutil.Must(t, ns.Close())
		testutil.Must(t, netns.Remove(t.Context(), dir))
	}
}
