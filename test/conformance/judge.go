package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Verdict is the comparison of a run with the list of known failures.
type Verdict struct {
	Passed, Skipped []Spec
	KnownFailed     []Spec   // failed as listed
	Failed          []Spec   // failed and not listed
	Unexpected      []Spec   // listed, and passed
	Stale           []string // patterns that match no spec at all
}

// OK tells whether everything was as expected.
func (v Verdict) OK() bool { return len(v.Failed)+len(v.Unexpected)+len(v.Stale) == 0 }

// Judge compares. A listed spec that is skipped is neither a failure nor a surprise.
func Judge(specs []Spec, known []Known) Verdict {
	var v Verdict
	used := make([]bool, len(known))
	for _, s := range specs {
		i := slices.IndexFunc(known, func(k Known) bool { return k.Pattern.MatchString(s.Name) })
		if i >= 0 {
			used[i] = true
		}
		switch {
		case s.Outcome == Skipped:
			v.Skipped = append(v.Skipped, s)
		case s.Outcome == Passed && i >= 0:
			v.Unexpected = append(v.Unexpected, s)
		case s.Outcome == Passed:
			v.Passed = append(v.Passed, s)
		case i >= 0:
			v.KnownFailed = append(v.KnownFailed, s)
		default:
			v.Failed = append(v.Failed, s)
		}
	}
	for i, k := range known {
		if !used[i] {
			v.Stale = append(v.Stale, k.Pattern.String())
		}
	}
	return v
}

// Write prints what a reader must know: every failure and surprise, skips by reason, and the counts on a line of their own.
func (v Verdict) Write(w io.Writer) {
	for _, s := range v.KnownFailed {
		fmt.Fprintf(w, "known failure: %s\n", s.Name)
	}
	for _, s := range v.Unexpected {
		fmt.Fprintf(w, "FAILED: %s: passes, but is listed as a known failure; take it off the list\n", s.Name)
	}
	for _, p := range v.Stale {
		fmt.Fprintf(w, "FAILED: the known failure %q matches no spec\n", p)
	}
	for _, s := range v.Failed {
		fmt.Fprintf(w, "FAILED: %s\n    %s\n", s.Name, clip(s.Message, 600))
	}
	for _, line := range skipReasons(v.Skipped) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped, %d known failures\n",
		len(v.Passed), len(v.Failed)+len(v.Unexpected)+len(v.Stale), len(v.Skipped), len(v.KnownFailed))
}

func skipReasons(specs []Spec) []string {
	count := map[string]int{}
	for _, s := range specs {
		count[clip(strings.TrimPrefix(s.Message, "skipped - "), 120)]++
	}
	var lines []string
	for reason, n := range count {
		lines = append(lines, fmt.Sprintf("SKIP-REASON: %d × critest: %s", n, reason))
	}
	slices.Sort(lines)
	return lines
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
