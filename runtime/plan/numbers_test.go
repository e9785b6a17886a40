package plan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/plan"
)

func cpus(list string) ([]int, error) {
	p := &specs.Process{Args: []string{"/x"}, Cwd: "/", ExecCPUAffinity: &specs.CPUAffinity{Final: list}}
	e, err := plan.NewExec(p, facts())
	if err != nil {
		return nil, err
	}
	return e.Affinity.Final, nil
}

func TestNumberLists(t *testing.T) {
	for list, expect := range map[string][]int{
		"": nil, "0": {0}, "0-3,7": {0, 1, 2, 3, 7}, "7, 1-2": {1, 2, 7}, "5,5-5": {5}, "8191": {8191}, "007": {7},
	} {
		got, err := cpus(list)
		testutil.Must(t, err)
		if diff := cmp.Diff(expect, got); diff != "" {
			t.Errorf("%q: %s", list, diff)
		}
	}
	for _, list := range []string{",", "1,", "-1", "1-", "3-1", "+1", "0x1", "8192", "1-99999999999999999999", "1:2", "1\n2", "1-2-3", strings.Repeat("1,", 20000)} {
		if got, err := cpus(list); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "process.execCPUAffinity.final: ") {
			t.Errorf("%.20q: %v, %v", list, got, err)
		}
	}
}

// A list is numbers in order and in range, or an error that names the field.
func FuzzNumbers(f *testing.F) {
	f.Add("0-3,7")
	f.Add("8191")
	f.Add("1-,")
	f.Fuzz(func(t *testing.T, list string) {
		got, err := cpus(list)
		if err != nil {
			if !strings.Contains(err.Error(), "process.execCPUAffinity.final: ") {
				t.Fatalf("error %v", err)
			}
			return
		}
		if !slices.IsSorted(got) || len(got) > 0 && (got[0] < 0 || got[len(got)-1] > 8191) {
			t.Fatalf("%q: %v", list, got)
		}
	})
}
