package conformance

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Outcome is how a spec ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Spec is the result of one spec.
type Spec struct {
	Name    string
	Outcome Outcome
	Message string  // why it failed or was skipped, one line
	Seconds float64 // wall clock
}

type junitSuites struct {
	Suites []struct {
		Cases []junitCase `xml:"testcase"`
	} `xml:"testsuite"`
}

type junitCase struct {
	Name    string     `xml:"name,attr"`
	Status  string     `xml:"status,attr"`
	Time    float64    `xml:"time,attr"`
	Failure *junitText `xml:"failure"`
	Error   *junitText `xml:"error"`
	Skipped *junitText `xml:"skipped"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// ReadReports reads all JUnit files in a folder. Cases that are no specs (the suite's own set-up) count when they failed.
func ReadReports(dir string) ([]Spec, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no JUnit report in %s: the suite did not reach its end", dir)
	}
	var specs []Spec
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var report junitSuites
		if err := xml.Unmarshal(data, &report); err != nil {
			return nil, fmt.Errorf("parse %s: %w", f, err)
		}
		for _, s := range report.Suites {
			for _, c := range s.Cases {
				if spec, ok := c.spec(); ok {
					spec.Name = prefixOf(f) + spec.Name
					specs = append(specs, spec)
				}
			}
		}
	}
	return specs, nil
}

func (c junitCase) spec() (Spec, bool) {
	s := Spec{Name: strings.TrimPrefix(c.Name, "[It] "), Outcome: Passed, Seconds: c.Time}
	switch {
	case c.Failure != nil:
		s.Outcome, s.Message = Failed, oneLine(c.Failure.Message, c.Failure.Text)
	case c.Error != nil:
		s.Outcome, s.Message = Failed, oneLine(c.Error.Message, c.Error.Text)
	case c.Skipped != nil:
		s.Outcome, s.Message = Skipped, oneLine(c.Skipped.Message, c.Skipped.Text)
	}
	// A spec that the command line left out (benchmarks always are) has no reason of its own.
	leftOut := s.Outcome == Skipped && s.Message == "skipped"
	isSpec := strings.HasPrefix(c.Name, "[It] ")
	return s, isSpec && !leftOut || s.Outcome == Failed
}

// prefixOf tells the specs of "junit-websocket.xml" apart from those of "junit.xml".
func prefixOf(file string) string {
	_, pass, ok := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".xml"), "-")
	if !ok {
		return ""
	}
	return pass + ": "
}

func oneLine(parts ...string) string {
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}
