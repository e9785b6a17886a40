package overlay

import (
	"os"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

// A label reaches the kernel as an option of the mount. No machine of the suite runs SELinux: what can be shown is that the
// kernel is asked, as one without it refuses the option, and that nothing else is mounted then.
func TestLabelsAreAskedOfTheKernel(t *testing.T) {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		testutil.Skip(t, "SELinux is on, and the label below may not be one of its policy")
	}
	d, _ := newDriver(t)
	layers := []digest.Digest{apply(t, d, tarOf(t, dir("etc/"), file("etc/a", "a1")))}
	must(t, d.Prepare(t.Context(), "k1", layers))
	as := snapshot.As{Label: "system_u:object_r:container_file_t:s0:c1,c2"}
	for _, how := range []mounter{d.how, byCall} {
		d.how = how
		m, err := d.Mount(t.Context(), "k1", as)
		wantUnlabelled(t, m, err)
		v, err := d.View(t.Context(), layers, as) // a single layer, which has no overlay else
		wantUnlabelled(t, v, err)
	}
	a := &attachment{lower: []*sys.Dir{d.tmp}, label: as.Label}
	if o := a.options(); !strings.HasSuffix(o, `,context="`+as.Label+`"`) {
		t.Errorf("options %s", o)
	}
}

func wantUnlabelled(t *testing.T, m *os.File, err error) {
	t.Helper()
	if err == nil {
		t.Error("mounted without a label")
		must(t, m.Close())
	}
}
