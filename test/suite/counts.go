package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// counts is what came out of a step.
type counts struct {
	passed, failed, skipped int
	broken                  []string // names of what failed
	reasons                 []string // of skips, one line each
}

func (c *counts) add(o counts) {
	c.passed += o.passed
	c.failed += o.failed
	c.skipped += o.skipped
	c.broken = append(c.broken, o.broken...)
	c.reasons = append(c.reasons, o.reasons...)
}

// writeDetails prints why tests were skipped, and then what failed: the end of a long output is what its reader sees first.
func (c *counts) writeDetails(w io.Writer) {
	slices.Sort(c.reasons)
	for _, r := range c.reasons {
		fmt.Fprintln(w, "skipped:", r)
	}
	for _, name := range c.broken {
		fmt.Fprintln(w, "failed:", name)
	}
}

// event is one line of `go test -json`.
type event struct {
	Action, Package, Test, Output string
	FailedBuild                   string
}

// readTests counts the tests of a `go test -json` run: those without subtests of their own. Output of what failed is printed.
func readTests(r io.Reader) (counts, error) {
	t := tests{output: map[string][]string{}, parents: map[string]bool{}}
	d := json.NewDecoder(r)
	for {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return t.counts, nil
		} else if err != nil {
			_, _ = io.Copy(io.Discard, r) // let the command end
			return t.counts, fmt.Errorf("read the output of go test: %w", err)
		}
		t.take(e)
	}
}

type tests struct {
	counts
	output  map[string][]string // by package and test
	parents map[string]bool     // tests that have subtests
	inTests int                 // failures of the current package's tests
}

func (t *tests) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Print(e.Output)
	case "output":
		t.output[key] = append(t.output[key], e.Output)
	case "run":
		if parent, _, ok := cutLast(e.Test, "/"); ok {
			t.parents[e.Package+" "+parent] = true
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
		} else {
			t.endTest(e, key)
		}
		delete(t.output, key)
	}
}

func (t *tests) endTest(e event, key string) {
	out := strings.Join(t.output[key], "")
	switch {
	case e.Action == "fail":
		fmt.Printf("FAILED: %s\n%s", key, indent(out))
		t.inTests++
		if !t.parents[key] {
			t.failed++
			t.broken = append(t.broken, key)
		}
	case t.parents[key]:
	case e.Action == "skip":
		t.skipped++
		t.reasons = append(t.reasons, e.Test+": "+skipReason(out))
	default:
		t.passed++
	}
}

// endPackage counts a package that failed without a failing test: it did not build, leaked or crashed.
func (t *tests) endPackage(e event) {
	out := strings.Join(t.output[e.Package+" "], "")
	if e.Action == "fail" && (t.inTests == 0 || strings.Contains(out, "LEAK:")) {
		fmt.Printf("FAILED: %s\n%s", e.Package, indent(out))
		t.failed++
		t.broken = append(t.broken, e.Package)
	}
	t.inTests = 0
}

// skipReason finds the reason in a skipped test's output.
func skipReason(out string) string {
	if _, reason, ok := strings.Cut(out, "SKIP-REASON: "); ok {
		reason, _, _ = strings.Cut(reason, "\n")
		return reason
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}

var countLine = regexp.MustCompile(`^(\d+) passed, (\d+) failed, (\d+) skipped`)

// readCounts passes output through and takes the counts from its last line of that form.
func readCounts(r io.Reader) (counts, error) {
	var c counts
	found := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if reason, ok := strings.CutPrefix(line, "SKIP-REASON: "); ok {
			c.reasons = append(c.reasons, reason)
			continue
		}
		if name, ok := strings.CutPrefix(line, "FAILED: "); ok {
			c.broken = append(c.broken, name)
		}
		m := countLine.FindStringSubmatch(line)
		if m == nil {
			fmt.Println(line)
			continue
		}
		found = true
		c.passed, c.failed, c.skipped = number(m[1]), number(m[2]), number(m[3])
	}
	if err := lines.Err(); err != nil {
		return c, err
	}
	if !found {
		return c, errors.New("did not reach its end: no line of counts")
	}
	return c, nil
}

// readOne passes output through and counts one success, which a bad exit status turns into a failure.
func readOne(r io.Reader) (counts, error) {
	data, err := io.ReadAll(r)
	fmt.Print(string(data))
	if len(strings.TrimSpace(string(data))) > 0 {
		return counts{}, err // what a check prints is a finding; its exit status counts
	}
	return counts{passed: 1}, err
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0 // the pattern matches digits only
	}
	return n
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("    " + line)
	}
	return b.String()
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// without returns the lines of all that are not in some.
func without(all, some string) []string {
	drop := map[string]bool{}
	for line := range strings.FieldsSeq(some) {
		drop[line] = true
	}
	var kept []string
	for line := range strings.FieldsSeq(all) {
		if !drop[line] {
			kept = append(kept, line)
		}
	}
	return kept
}
