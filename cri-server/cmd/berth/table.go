package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints rows below headings, or with quiet only each row's key.
type table struct {
	quiet bool
	out   io.Writer
	w     *tabwriter.Writer
	err   error
}

func newTable(out io.Writer, quiet bool, headings ...string) *table {
	t := &table{quiet: quiet, out: out, w: tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)}
	if !quiet {
		t.line(strings.Join(headings, "\t"))
	}
	return t
}

func (t *table) row(key string, cells ...string) {
	if t.quiet {
		_, err := fmt.Fprintln(t.out, key)
		t.err = errors.Join(t.err, err)
		return
	}
	t.line(strings.Join(cells, "\t"))
}

func (t *table) line(text string) {
	_, err := fmt.Fprintln(t.w, text)
	t.err = errors.Join(t.err, err)
}

func (t *table) flush() error { return errors.Join(t.err, t.w.Flush()) }

// ago is a duration for people: its largest unit.
func ago(d time.Duration) string {
	plural := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < time.Second:
		return "less than a second"
	case d < time.Minute:
		return plural(int(d/time.Second), "second")
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/(24*time.Hour)), "day")
}

// each does f for every argument, also when it failed for one, and returns all errors.
func each(args []string, f func(string) error) error {
	var errs []error
	for _, arg := range args {
		errs = append(errs, f(arg))
	}
	return errors.Join(errs...)
}
