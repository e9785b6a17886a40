package main

import (
	"go/ast"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// honourIgnores makes an analyzer keep silent at lines that say "//lint:ignore CHECK[,CHECK] reason", on them or above them.
// Without a reason the comment counts for nothing.
func honourIgnores(a *analysis.Analyzer) {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		ignored := ignoredLines(pass, a.Name)
		report := pass.Report
		pass.Report = func(d analysis.Diagnostic) {
			at := pass.Fset.Position(d.Pos)
			if !ignored[line{at.Filename, at.Line}] {
				report(d)
			}
		}
		return run(pass)
	}
}

type line struct {
	file   string
	number int
}

func ignoredLines(pass *analysis.Pass, check string) map[line]bool {
	lines := map[line]bool{}
	for _, f := range pass.Files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if ignores(c, check) {
					at := pass.Fset.Position(c.Pos())
					lines[line{at.Filename, at.Line}] = true
					lines[line{at.Filename, pass.Fset.Position(group.End()).Line + 1}] = true
				}
			}
		}
	}
	return lines
}

func ignores(c *ast.Comment, check string) bool {
	rest, ok := strings.CutPrefix(c.Text, "//lint:ignore ")
	checks, reason, hasReason := strings.Cut(strings.TrimSpace(rest), " ")
	return ok && hasReason && strings.TrimSpace(reason) != "" && slices.ContainsFunc(strings.Split(checks, ","), func(pattern string) bool {
		matched, err := filepath.Match(pattern, check)
		return err == nil && matched
	})
}
