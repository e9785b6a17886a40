package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Marks of the guest on the console: "@@job FOLDER" begins a job, "@@end FOLDER STATUS" ends it.
const (
	markJob = "@@job "
	markEnd = "@@end "
)

var (
	resultLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)
	reasonLine = regexp.MustCompile(`SKIP-REASON: (.*)`)
)

// tally counts the tests of one job.
type tally struct {
	folder  string
	results map[string]string // test → PASS, FAIL or SKIP
	status  string            // exit status; "" when the job did not end
	leaks   int
}

// summarize reads the console, prints what failed or was skipped and why, and the counts.
func summarize(console string, jobs []job) error {
	data, err := os.ReadFile(console)
	if err != nil {
		return err
	}
	tallies := parseConsole(string(data))
	passed, failed, skipped := 0, 0, 0
	for _, j := range jobs {
		t := tallies[j.folder]
		if t == nil {
			t = &tally{folder: j.folder}
		}
		p, f, s := t.count()
		fmt.Printf("%s: %d passed, %d failed, %d skipped in the machine\n", j.folder, p, f, s)
		passed, failed, skipped = passed+p, failed+f, skipped+s
	}
	if failed > 0 {
		fmt.Println(failures(string(data)))
	}
	for _, m := range reasonLine.FindAllStringSubmatch(string(data), -1) {
		fmt.Println("SKIP-REASON: vm:", strings.TrimSpace(m[1]))
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 {
		return fmt.Errorf("%d tests failed", failed)
	}
	return nil
}

func parseConsole(text string) map[string]*tally {
	all := map[string]*tally{}
	var now *tally
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if folder, ok := strings.CutPrefix(line, markJob); ok {
			now = &tally{folder: folder, results: map[string]string{}}
			all[folder] = now
			continue
		}
		if now == nil {
			continue
		}
		if end, ok := strings.CutPrefix(line, markEnd); ok {
			_, now.status, _ = strings.Cut(end, " ")
			now = nil
		} else if m := resultLine.FindStringSubmatch(line); m != nil {
			now.results[m[2]] = m[1]
		} else if strings.HasPrefix(line, "LEAK: ") {
			now.leaks++
		}
	}
	return all
}

// count counts the tests that have no subtests. A job that ran none, leaked or did not end well counts as failed even so.
func (t *tally) count() (passed, failed, skipped int) {
	parents := map[string]bool{}
	for name := range t.results {
		if i := strings.LastIndex(name, "/"); i >= 0 {
			parents[name[:i]] = true
		}
	}
	for name, result := range t.results {
		switch {
		case parents[name]:
		case result == "PASS":
			passed++
		case result == "FAIL":
			failed++
		default:
			skipped++
		}
	}
	if failed == 0 && (t.status != "0" || t.leaks > 0 || passed+skipped == 0) {
		failed++
	}
	return passed, failed, skipped
}

// failures returns what each failed test printed, after a line with its name. Of a job that failed without one, it is the
// end of what the job printed.
func failures(text string) string {
	var out []string
	var folder string
	var job, test []string // lines of the job, and since the start of the top-level test
	found := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		name, begins := strings.CutPrefix(line, "=== RUN ")
		switch {
		case strings.HasPrefix(line, markJob):
			folder, job, test, found = strings.TrimPrefix(line, markJob), nil, nil, false
		case strings.HasPrefix(line, markEnd):
			if !found && !strings.HasSuffix(line, " 0") {
				out = append(append(out, "FAILED: vm: "+folder), last(job)...)
			}
			folder = ""
		case begins && !strings.Contains(name, "/"):
			test = nil
		}
		job, test = append(job, line), append(test, line)
		if m := resultLine.FindStringSubmatch(line); m != nil && m[1] == "FAIL" {
			out = append(append(out, "FAILED: vm: "+folder+" "+m[2]), last(test)...)
			found, test = true, nil
		}
	}
	if folder != "" { // the machine stopped, or was stopped
		out = append(append(out, "FAILED: vm: "+folder+" did not end"), last(job)...)
	}
	return strings.Join(out, "\n")
}

func last(lines []string) []string { return lines[max(0, len(lines)-100):] }
