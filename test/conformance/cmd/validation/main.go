// Command validation runs runtime-tools' validation programs with runc and berth-oci at once, and compares the results with
// the table in test/conformance/validation.md.
//
//	validation [--write] [--programs DIR] [--reports DIR]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/conformance/validation"
)

const (
	tablePath       = "test/conformance/validation.md"
	scriptPath      = "test/conformance/validation/namespaces.sh"
	differencesPath = "test/conformance/validation/differences.txt"
	editsPath       = "test/conformance/validation/edits"
)

func main() {
	os.Exit(testutil.Isolate(func() int {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, "validation:", err)
			return 1
		}
		return 0
	}))
}

func run() error {
	write := flag.Bool("write", false, "write the table instead of comparing it")
	programs := flag.String("programs", "build/validation", "folder of the suite's programs")
	reports := flag.String("reports", "build/validation-reports", "folder for the programs' outputs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	differences, err := readReasons(differencesPath)
	if err != nil {
		return err
	}
	results, err := both(ctx, *programs, *reports)
	if err != nil {
		return err
	}
	versions, err := versions(ctx)
	if err != nil {
		return err
	}
	table := results.Table(versions, differences)
	if *write {
		if err := os.WriteFile(tablePath, []byte(table), 0o644); err != nil {
			return err
		}
	}
	return judge(results, differences, table)
}

func readReasons(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	list, err := validation.ParseDifferences(f)
	return list, errors.Join(err, f.Close())
}

// both runs the suite with both runtimes at the same time: most of its time is waiting.
func both(ctx context.Context, programs, reports string) (r validation.Results, err error) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return r, err
	}
	type result struct {
		all map[string]validation.Verdict
		err error
	}
	start := func(name, runtime string) <-chan result {
		c := make(chan result, 1)
		go func() {
			all, err := one(ctx, name, runtime, programs, reports)
			c <- result{all, err}
		}()
		return c
	}
	theirs, mine := start("runc", runc), start("berth-oci", "bin/berth-oci")
	a, b := <-theirs, <-mine
	return validation.Results{Runc: a.all, Berth: b.all}, errors.Join(a.err, b.err)
}

func one(ctx context.Context, name, runtime, programs, reports string) (_ map[string]validation.Verdict, err error) {
	o := validation.Options{Name: name}
	for from, to := range map[string]*string{
		programs: &o.Programs, runtime: &o.Runtime, filepath.Join(reports, name): &o.Reports, scriptPath: &o.Script,
		editsPath: &o.Edits,
	} {
		if *to, err = filepath.Abs(from); err != nil {
			return nil, err
		}
	}
	if o.Dir, err = os.MkdirTemp("", "v"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	return validation.Run(ctx, o)
}

func versions(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "runc", "--version").Output()
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(out), "\n")
	kind := "control groups v1"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		kind = "control groups v2"
	} else if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		kind = "hybrid control groups"
	}
	return strings.Replace(first, "runc version", "runc", 1) + ", " + kind, nil
}

// judge prints the counts: a program that passes with runc and not with berth-oci is a failure unless it is listed, and so
// is one that is listed without need. A table of the same runc and kind of control groups that differs is told.
func judge(r validation.Results, differences map[string]string, table string) error {
	failed := 0
	complain := func(format string, args ...any) {
		failed++
		fmt.Printf("FAILED: "+format+"\n", args...)
	}
	for _, name := range r.Worse() {
		if differences[name] == "" {
			complain("%s: passes with runc; with berth-oci it %s", name, r.Berth[name].Why)
		}
	}
	for name := range differences {
		if r.Berth[name].Passed {
			complain("%s: listed in %s, and passes", name, differencesPath)
		}
	}
	data, err := os.ReadFile(tablePath)
	if err != nil {
		return err
	}
	if old := string(data); old != table && head(old) == head(table) {
		// Said and not failed: some of the suite's programs race with their container, so that the verdict of one with runc
		// may differ from run to run. What berth-oci must pass is judged above.
		fmt.Printf("%s differs from this run: see git diff after make validation VALIDATION_FLAGS=--write\n", tablePath)
	}
	runc, passed := r.Count()
	if runc == 0 || passed == 0 {
		complain("%d programs pass with runc and %d with berth-oci: the suite itself does not run", runc, passed)
	}
	fmt.Printf("%d passed, %d failed, 0 skipped\n", passed, failed)
	if failed > 0 {
		return errors.New("not as expected")
	}
	return nil
}

// head is the line that says which runc and control groups a table is about.
func head(table string) string {
	lines := strings.SplitN(table, "\n", 4)
	return lines[min(2, len(lines)-1)]
}
