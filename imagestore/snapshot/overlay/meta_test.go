package overlay

import (
	"errors"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// FuzzRecords feeds the parsers of layer.json and snapshot.json, which a broken disk may have written.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"bytes":1,"inodes":2,"whiteouts":true}`))
	f.Add([]byte(`{"layers":["sha256:0123456789012345678901234567890123456789012345678901234567890123"],"lower":null}`))
	f.Add([]byte(`{"layers":["sha256:../../x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parseLayerInfo(data); err != nil && !errors.Is(err, errdefs.ErrDataLoss) {
			t.Fatal(err)
		}
		info, err := parseSnapshotInfo(data)
		if err != nil {
			if !errors.Is(err, errdefs.ErrDataLoss) {
				t.Fatal(err)
			}
			return
		}
		for _, d := range append(info.Layers, info.Lower...) {
			if name, err := layerName(d); err != nil || len(name) != 7+64 {
				t.Fatalf("layer %q", d)
			}
		}
	})
}
