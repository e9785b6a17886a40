package plan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/plan"
)

// Any process that is JSON gets a plan or an error of one of two kinds that begins with a field, and stays as it is.
func FuzzNewExec(f *testing.F) {
	for _, c := range corpus(f) {
		var s specs.Spec
		testutil.Must(f, json.Unmarshal(patched(f, c.Patch), &s))
		data, err := json.Marshal(s.Process)
		testutil.Must(f, err)
		f.Add(data)
	}
	facts := capable()
	facts.Inherited = plan.Inherit(spec())
	f.Fuzz(func(t *testing.T, data []byte) {
		var p specs.Process
		if json.Unmarshal(data, &p) != nil {
			t.Skip()
		}
		before, err := json.Marshal(&p)
		testutil.Must(t, err)
		_, err = plan.NewExec(&p, facts)
		if after, jsonErr := json.Marshal(&p); jsonErr != nil || string(after) != string(before) {
			t.Fatalf("the process was changed (%v)", jsonErr)
		}
		if err != nil && (!errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotSupported) || !strings.HasPrefix(err.Error(), "process")) {
			t.Fatalf("error %v", err)
		}
	})
}
