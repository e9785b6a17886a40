package plan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/lsm"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// malformed is a case of the corpus: what a merge patch (RFC 7396) makes of a good spec, and the field that the error names.
type malformed struct {
	Field string          `json:"field"`
	Patch json.RawMessage `json:"patch"`
}

func corpus(t testing.TB) []malformed {
	t.Helper()
	data, err := os.ReadFile("testdata/malformed.json")
	testutil.Must(t, err)
	var list []malformed
	testutil.Must(t, json.Unmarshal(data, &list))
	return list
}

// capable are the facts of a machine on which everything can be asked for.
func capable() plan.Facts {
	f := facts()
	f.Prepared = []string{"/image"}
	f.Hooks = true
	f.LSM = lsm.Modules{AppArmor: true, SELinux: true}
	return f
}

// cgroups opens the machine's control groups. Nothing is made in them.
func cgroups(t testing.TB) *cgroup.Host {
	t.Helper()
	host, err := cgroup.Detect()
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, host.Close()) })
	return host
}

// planned does what a launcher does: it compiles the filter, plans, and has the limits checked.
func planned(s *specs.Spec, host *cgroup.Host) (*plan.Plan, error) {
	f := capable()
	if s.Linux != nil {
		var err error
		if f.Seccomp, err = seccomp.NewCompilerFor("amd64").Compile(s.Linux.Seccomp); err != nil {
			return nil, err
		}
	}
	p, err := plan.New(s, f)
	if err != nil {
		return nil, err
	}
	return p, host.Check(s.Linux.CgroupsPath, s.Linux.Resources)
}

// merge applies a merge patch.
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for k, v := range changes {
		if v == nil {
			delete(object, k)
			continue
		}
		object[k] = merge(object[k], v)
	}
	return object
}

// patched returns the good spec with a patch applied, as JSON.
func patched(t testing.TB, patch []byte) []byte {
	t.Helper()
	good, err := json.Marshal(spec())
	testutil.Must(t, err)
	var target, change any
	testutil.Must(t, json.Unmarshal(good, &target))
	testutil.Must(t, decodeNumbers(patch, &change))
	out, err := json.Marshal(merge(target, change))
	testutil.Must(t, err)
	return out
}

// decodeNumbers keeps numbers as they are written: not all of them fit a float64.
func decodeNumbers(data []byte, to *any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	return d.Decode(to)
}

func TestMalformed(t *testing.T) {
	list := corpus(t)
	if len(list) < 190 {
		t.Fatalf("%d cases", len(list))
	}
	if _, err := plan.New(spec(), capable()); err != nil {
		t.Fatalf("the good spec: %v", err)
	}
	host := cgroups(t)
	for i, c := range list {
		t.Run(fmt.Sprint(i, " ", c.Field), func(t *testing.T) {
			var s specs.Spec
			testutil.Must(t, json.Unmarshal(patched(t, c.Patch), &s))
			_, err := planned(&s, host)
			switch {
			case err == nil:
				t.Errorf("a plan is made of %.300s", c.Patch)
			case !strings.HasPrefix(err.Error(), c.Field):
				t.Errorf("%.300s: the error does not begin with %q: %.300v", c.Patch, c.Field, err)
			case !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotSupported):
				t.Errorf("%.300s: error of no kind: %.300v", c.Patch, err)
			}
		})
	}
}
