package validation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-runtime/berth/internal/testutil"
)

// Options says what to run.
type Options struct {
	Programs string // folder of the suite's programs, with runtimetest and the root file system's archive
	Runtime  string // path of the runtime
	Script   string // path of namespaces.sh
	Edits    string // folder of sed scripts, PROGRAM.sed, for the configurations of programs that race with their containers
	Name     string // of the runtime: names its folders and groups
	Dir      string // working folder
	Reports  string // folder for the programs' outputs
}

// limit is how long a program may take. The longest ones wait ten seconds for what does not happen.
const limit = time.Minute

// atOnce is how many programs run at the same time: those that take long wait.
const atOnce = 3

// Run runs all programs with a runtime and returns what came out by the program's name.
func Run(ctx context.Context, o Options) (map[string]Verdict, error) {
	names, err := programs(o.Programs)
	if err != nil {
		return nil, err
	}
	if err := o.prepare(); err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(names))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, name := range names {
		g.Go(func() (err error) {
			if verdicts[i], err = o.one(ctx, name); err != nil {
				return fmt.Errorf("run %s with %s: %w", name, o.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := map[string]Verdict{}
	for i, name := range names {
		all[name] = verdicts[i]
	}
	return all, nil
}

// notPrograms are files beside the programs.
var notPrograms = map[string]bool{"runtimetest": true, "util": true}

func programs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !notPrograms[e.Name()] && !strings.Contains(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no programs in %s", dir)
	}
	return names, nil
}

// prepare makes the working folder: the programs look for what they need there. The runtime is called through a script,
// as they pass no flags on.
func (o *Options) prepare() error {
	for _, dir := range []string{filepath.Join(o.Dir, "tmp"), o.Reports} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(o.Programs, "*.tar.gz"))
	if err != nil {
		return err
	}
	for _, path := range append(files, filepath.Join(o.Programs, "runtimetest")) {
		data, err := os.ReadFile(path)
		if err == nil { // a link would be copied as one, into the container
			err = os.WriteFile(filepath.Join(o.Dir, filepath.Base(path)), data, 0o755)
		}
		if err != nil {
			return err
		}
	}
	wrapper := fmt.Sprintf(`#!/bin/sh
set -e
if [ "$1" = create ] && [ -e "$EDIT" ]; then
	for arg; do
		[ "$before" != --bundle ] || config=$arg/config.json
		before=$arg
	done
	sed -i.was -f "$EDIT" "$config"
	if cmp -s "$config" "$config.was"; then echo "$EDIT changes nothing" >&2; exit 1; fi
fi
exec '%s' --root '%s/state' "$@"
`, o.Runtime, o.Dir)
	return os.WriteFile(filepath.Join(o.Dir, "runtime"), []byte(wrapper), 0o755)
}

func (o *Options) one(ctx context.Context, name string) (v Verdict, err error) {
	out, err := os.Create(filepath.Join(o.Reports, name+".tap"))
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	group := strings.TrimPrefix(testutil.CgroupRoot(), "/") + "-" + o.Name + "-" + name
	cmd := exec.CommandContext(ctx, "sh", o.Script, group, filepath.Join(o.Programs, name))
	cmd.Dir = o.Dir
	cmd.Env = append(os.Environ(), "RUNTIME="+filepath.Join(o.Dir, "runtime"), "TMPDIR="+filepath.Join(o.Dir, "tmp"),
		"EDIT="+filepath.Join(o.Edits, name+".sed"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel, cmd.WaitDelay = func() error { return killInside(cmd.Process) }, goneTime
	exit := cmd.Run()
	if err := removeGroups(group); err != nil {
		return v, err
	}
	data, err := os.ReadFile(out.Name())
	if err != nil {
		return v, err
	}
	return Judge(string(data), exit), nil
}

// goneTime bounds how long the processes of a killed namespace may take to go.
const goneTime = 30 * time.Second

// killInside ends the first process of the PID namespace, and with it all others there, instead of the one outside that waits for it: that ends when they are
// gone, and only then can their groups be removed.
func killInside(outside *os.Process) error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", outside.Pid))
	if err != nil {
		return errors.Join(err, outside.Kill())
	}
	children := strings.Fields(string(data))
	if len(children) == 0 { // not made yet
		return outside.Kill()
	}
	for _, child := range children {
		pid, err := strconv.Atoi(child)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return errors.Join(err, outside.Kill())
		}
	}
	return nil
}

// removeGroups removes the groups that a program left behind. Its processes ended with their PID namespace.
func removeGroups(group string) error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		dirs, err := filepath.Glob(pattern + group)
		errs = append(errs, err)
		for _, dir := range dirs {
			errs = append(errs, removeTree(dir))
		}
	}
	return errors.Join(errs...)
}

// removeTree removes groups, those below first.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	errs := []error{err}
	for _, d := range slices.Backward(dirs) {
		errs = append(errs, os.Remove(d))
	}
	return errors.Join(errs...)
}
