package groups

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/conformance"
)

func TestMain(m *testing.M) { testutil.Main(m) }

const focus = `\[k8s\.io\] (Container|Multiple Containers|Security Context|AppArmor)`

func TestGroups(t *testing.T) {
	testutil.RequireRoot(t)
	v := judge(t, run(t))
	for _, s := range v.Passed {
		spec(t, s, func(*testing.T) {})
	}
	for _, s := range v.Skipped {
		spec(t, s, func(t *testing.T) { testutil.Skip(t, "critest: %s", strings.TrimPrefix(s.Message, "skipped - ")) })
	}
	for _, s := range v.KnownFailed {
		spec(t, s, func(t *testing.T) { testutil.Skip(t, "critest: known failure") })
	}
	for _, s := range v.Unexpected {
		spec(t, s, func(t *testing.T) { t.Error("passes, but is listed as a known failure") })
	}
	for _, s := range v.Failed { // last, where who reads a failed run looks
		spec(t, s, func(t *testing.T) { t.Error(s.Message) })
	}
}

// spec shows a spec's result as a test's.
func spec(t *testing.T, s conformance.Spec, result func(*testing.T)) {
	name := strings.TrimPrefix(s.Name, "[k8s.io] ")
	t.Run(strings.ReplaceAll(name, "/", "|"), result) // a slash would make it a subtest of its own
}

// run runs the groups against a berthd of their own and returns the folder of their reports.
func run(t *testing.T) (reports string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "c") // short: sockets lie below
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, os.RemoveAll(dir)) })
	reports = filepath.Join(t.TempDir(), "reports")
	output, err := os.Create(filepath.Join(t.TempDir(), "critest.log"))
	testutil.Must(t, err)
	defer output.Close()
	if err := conformance.Run(t.Context(), conformance.Options{Runtime: "berth", Focus: focus, Reports: reports, Dir: dir, Output: output}); err != nil {
		said, _ := os.ReadFile(output.Name()) // shown as far as it can be read
		t.Fatalf("%s\n%v", said, err)
	}
	return reports
}

// judge compares the reports with the list of known failures, most of which other groups have.
func judge(t *testing.T, reports string) conformance.Verdict {
	t.Helper()
	specs, err := conformance.ReadReports(reports)
	testutil.Must(t, err)
	f, err := os.Open("../known-failures.txt")
	testutil.Must(t, err)
	defer f.Close()
	known, err := conformance.ParseKnown(f)
	testutil.Must(t, err)
	v := conformance.Judge(specs, known)
	v.Stale = nil
	return v
}
