package validation

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// A program that is ended, as one is that takes too long, leaves neither processes nor groups, however many it has made.
func TestEndedProgramsLeaveNothing(t *testing.T) {
	testutil.RequireRoot(t)
	script, err := filepath.Abs("namespaces.sh")
	testutil.Must(t, err)
	dir, programs := t.TempDir(), t.TempDir()
	const program = `#!/bin/sh
for dir in /sys/fs/cgroup/*; do mkdir -p "$dir/below" && echo $$ >"$dir/below/cgroup.procs" || true; done 2>/dev/null
for i in 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9; do sleep 1000 & done
echo yes >"$STARTED"
sleep 1000
`
	fifo := filepath.Join(dir, "started")
	testutil.Must(t, errors.Join(os.WriteFile(filepath.Join(programs, "slow"), []byte(program), 0o755), os.Mkdir(filepath.Join(dir, "tmp"), 0o755), syscall.Mkfifo(fifo, 0o600)))
	t.Setenv("STARTED", fifo)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		if said, err := os.ReadFile(fifo); err != nil || string(said) != "yes\n" {
			t.Errorf("it said %q, %v", said, err)
		}
	}()
	o := Options{Programs: programs, Script: script, Name: "test", Dir: dir, Reports: dir}
	v, err := o.one(ctx, "slow")
	if err != nil || v.Passed {
		t.Errorf("%+v, %v", v, err)
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*/" + strings.TrimPrefix(testutil.CgroupRoot(), "/") + "-test-slow")
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
