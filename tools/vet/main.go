// Command vet is the linter of this repository, run by go vet:
//
//	go vet -vettool=build/bin/vet ./...
//
// Beside staticcheck it holds checks for mistakes that have cost container runtimes dearly: errors compared or wrapped
// wrongly, contexts kept in structs. Every check runs at full strength; an exception needs a "//lint:ignore CHECK reason" at
// its line.
package main

import (
	"slices"

	"github.com/gostaticanalysis/nilerr"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"github.com/sivchari/containedctx"
	"go-simpler.org/sloglint"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/modernize"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/reflectvaluecompare"
	"golang.org/x/tools/go/analysis/passes/unusedwrite"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
)

// left lists staticcheck's style checks that are left out, each with the reason.
var left = map[string]string{
	"ST1000": "test/arch asks for one package comment, which this check does not count",
	"ST1003": "names of system calls and of CRI fields keep their own spelling",
	"ST1020": "the form of comments is for readers to judge",
	"ST1021": "the form of comments is for readers to judge",
	"ST1022": "the form of comments is for readers to judge",
}

func main() {
	analyzers := []*analysis.Analyzer{
		containedctx.Analyzer,
		errorlint.NewAnalyzer(),
		nilerr.Analyzer,
		nilness.Analyzer,
		reflectvaluecompare.Analyzer,
		sloglint.New(&sloglint.Options{NoGlobalLogger: "all", StaticMessage: true, NoMixedArguments: true}),
		unusedwrite.Analyzer,
	}
	analyzers = append(analyzers, modernize.Suite...)
	for _, group := range [][]*lint.Analyzer{staticcheck.Analyzers, simple.Analyzers, stylecheck.Analyzers} {
		for _, a := range group {
			if _, out := left[a.Analyzer.Name]; !out {
				analyzers = append(analyzers, a.Analyzer)
			}
		}
	}
	slices.SortFunc(analyzers, func(a, b *analysis.Analyzer) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for _, a := range analyzers {
		honourIgnores(a)
	}
	unitchecker.Main(analyzers...)
}
