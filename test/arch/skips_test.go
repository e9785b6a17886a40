package arch

import (
	"go/ast"
	"slices"
	"testing"
)

// TestSkipsTellWhy wants tests to be skipped by testutil.Skip, whose reasons the suite counts and prints. A fuzz target may pass
// over an input without one.
func TestSkipsTellWhy(t *testing.T) {
	fset, files := parseAll(t)
	seen := 0
	for _, s := range files {
		if s.folder == "internal/testutil" {
			continue
		}
		var targets []ast.Node
		ast.Inspect(s.file, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			on, name := method(c)
			switch {
			case name == "Fuzz":
				targets = append(targets, c)
			case on == "testutil" && name == "Skip":
				seen++
			case slices.Contains([]string{"t", "b", "tb"}, on) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, name):
				inTarget := slices.ContainsFunc(targets, func(t ast.Node) bool { return t.Pos() < c.Pos() && c.End() < t.End() })
				if !inTarget || len(c.Args) > 0 {
					t.Errorf("%s:%d: %s.%s: call testutil.Skip, so that the reason is counted", s.path, fset.Position(c.Pos()).Line, on, name)
				}
			}
			return true
		})
	}
	if seen < 10 {
		t.Errorf("%d calls of testutil.Skip: are the tests looked at at all?", seen)
	}
}

// method returns the names of what a call's method is on and of the method; empty ones if it is another kind of call.
func method(c *ast.CallExpr) (on, name string) {
	f, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if x, ok := f.X.(*ast.Ident); ok {
		on = x.Name
	}
	return on, f.Sel.Name
}
