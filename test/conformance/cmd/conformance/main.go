// Command conformance runs critest against a runtime of its own and compares the results with the known failures.
//
//	conformance [--runtime berth|containerd] [--focus REGEXP] [--reports DIR] [--known FILE]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/conformance"
)

func main() {
	os.Exit(testutil.Isolate(func() int {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			return 1
		}
		return 0
	}))
}

func run() (err error) {
	var o conformance.Options
	var knownPath, verbose string
	flag.StringVar(&o.Runtime, "runtime", "berth", "berth, or containerd to check the suite itself")
	flag.StringVar(&o.Focus, "focus", "", "run the specs that match this regular expression")
	flag.StringVar(&o.Skip, "skip", "", "leave out the specs that match this regular expression")
	flag.StringVar(&o.Reports, "reports", "build/conformance", "folder of the JUnit reports")
	flag.StringVar(&knownPath, "known", "test/conformance/known-failures.txt", "list of known failures")
	flag.StringVar(&verbose, "output", "build/critest.log", "file of the suite's own output")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if o.Dir, err = os.MkdirTemp("", "c"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	if o.Reports, err = filepath.Abs(o.Reports); err != nil {
		return err
	}
	if o.Output, err = os.Create(verbose); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Output.Close()) }()
	if err := conformance.Run(ctx, o); err != nil {
		return fmt.Errorf("%w (see %s)", err, verbose)
	}
	return judge(o, knownPath)
}

func judge(o conformance.Options, knownPath string) error {
	specs, err := conformance.ReadReports(o.Reports)
	if err != nil {
		return err
	}
	f, err := os.Open(knownPath)
	if errors.Is(err, fs.ErrNotExist) && o.Runtime != "berth" {
		f, err = os.Open(os.DevNull)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	known, err := conformance.ParseKnown(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", knownPath, err)
	}
	v := conformance.Judge(specs, known)
	if o.Focus != "" || o.Skip != "" {
		v.Stale = nil // not every spec ran
	}
	v.Write(os.Stdout)
	if !v.OK() {
		return errors.New("not as expected")
	}
	return nil
}
