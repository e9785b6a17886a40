package validation

import (
	"errors"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		output string
		exit   error
		why    string
	}{
		"passes":                    {output: "TAP version 13\nok 1 - a\nok 2 - b\n1..2\n"},
		"an assertion fails":        {output: "ok 1 - a\nnot ok 2 - b\n1..2\n", why: "an assertion fails"},
		"a bad exit status":         {output: "ok 1 - a\n1..1\n", exit: errors.New("exit status 1"), why: "ends with exit status 1"},
		"no plan":                   {output: "ok 1 - a\n", why: "did not reach its end"},
		"an exit status only":       {output: "failed to create the container\n"},
		"a plan that is no number":  {output: "ok 1\n1..x\n", why: "did not reach its end"},
		"too few":                   {output: "ok 1 - a\n1..3\n", why: "makes fewer assertions than planned"},
		"none planned":              {output: "TAP version 13\n1..0\n"},
		"none planned, but a tells": {output: "  ---\n  {\n    \"error\": \"hooks MUST\"\n  }\n  ...\n1..0\n", why: "tells of an error"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(c.output, c.exit)
			if v.Why != c.why || v.Passed != (c.why == "") {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestWorse(t *testing.T) {
	pass, fail := Verdict{Passed: true}, Verdict{Why: "no"}
	r := Results{
		Runc:  map[string]Verdict{"a": pass, "b": pass, "c": fail},
		Berth: map[string]Verdict{"a": pass, "b": fail, "c": fail},
	}
	if got := strings.Join(r.Worse(), " "); got != "b" {
		t.Errorf("worse: %s", got)
	}
	if table := r.Table("v", map[string]string{"b": "because"}); !strings.Contains(table, "| b | passes | fails: no; because |\n") {
		t.Errorf("table:\n%s", table)
	}
}

func TestParseDifferences(t *testing.T) {
	got, err := ParseDifferences(strings.NewReader("# why\n\na: reason\n"))
	if err != nil || len(got) != 1 || got["a"] != "reason" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ParseDifferences(strings.NewReader("a\n")); err == nil {
		t.Error("a line without reason is accepted")
	}
}
