package validation

import (
	"strconv"
	"strings"
)

// Verdict is what came out of one program.
type Verdict struct {
	Passed    bool
	OK, NotOK int    // assertions
	Why       string // why it did not pass
}

// Judge reads a program's output (the Test Anything Protocol, version 13) and its exit status. Some programs make no
// assertions: they plan none, and tell what is wrong as a diagnosis.
func Judge(output string, exit error) Verdict {
	var v Verdict
	planned, diagnosed := -1, ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "ok "):
			v.OK++
		case strings.HasPrefix(line, "not ok "):
			v.NotOK++
		case strings.HasPrefix(line, "1.."):
			if n, err := strconv.Atoi(strings.Fields(line[3:] + " ?")[0]); err == nil {
				planned = n
			}
		case strings.HasPrefix(line, `"error": `):
			diagnosed = line
		}
	}
	switch {
	case exit != nil:
		v.Why = "ends with " + exit.Error()
	case v.NotOK > 0:
		v.Why = "an assertion fails"
	case planned < 0 && v.OK == 0 && !strings.Contains(output, "TAP version"):
		// A program of the suite that knows its exit status only.
	case planned < 0:
		v.Why = "did not reach its end"
	case planned > v.OK:
		v.Why = "makes fewer assertions than planned"
	case planned == 0 && diagnosed != "":
		v.Why = "tells of an error"
	}
	v.Passed = v.Why == ""
	return v
}
