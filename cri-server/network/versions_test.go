package network_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// TestAPluginOfAnotherTime wants a chain to be refused before its ADD, which the plugin could not undo either.
func TestAPluginOfAnotherTime(t *testing.T) {
	w := newWorld(t, nil)
	script := "#!/bin/sh\necho $CNI_COMMAND >> " + w.notes() + "\n" + `echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}'` + "\n"
	testutil.Must(t, os.WriteFile(filepath.Join(w.bin, "old"), []byte(script), 0o755))
	w.write("1.conflist", `{"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "old"}]}`)
	for range 2 { // the answer is kept
		if err := w.status(); !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), "bin_dirs") {
			t.Errorf("got %v", err)
		}
	}
	if diff := cmp.Diff([]string{"VERSION"}, w.calls()); diff != "" {
		t.Error(diff)
	}
}
