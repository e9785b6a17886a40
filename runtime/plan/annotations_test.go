package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/plan"
)

// What other runtimes take orders from changes no plan, nor do names of berth's own that mean nothing.
func TestAnnotationsChangeNothing(t *testing.T) {
	expect, err := plan.New(spec(), capable())
	testutil.Must(t, err)
	s := spec()
	s.Annotations = map[string]string{
		"run.oci.keep_original_groups":         "1",
		"run.oci.seccomp_fail_unknown_syscall": "1",
		"run.oci.mount_context_type":           "rootcontext",
		"run.oci.hooks.stdout":                 "/etc/passwd",
		"run.oci.systemd.subgroup":             "../../x",
		"run.oci.handler":                      "krun",
		"org.systemd.property.ExecStart":       "'/bin/sh'",
		"org.criu.config":                      "/etc/passwd",
		"io.katacontainers.config.hypervisor":  "/bin/sh",
		"io.berth.anything":                    "1",
		"":                                     "\x00",
	}
	got, err := plan.New(s, capable())
	testutil.Must(t, err)
	if diff := cmp.Diff(expect, got); diff != "" {
		t.Error(diff)
	}
}
