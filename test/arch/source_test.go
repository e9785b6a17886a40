package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stateAllowed lists package-level variables that look like state and are none, each with the reason.
var stateAllowed = map[string]string{
	"internal/version": "set by the linker, written by nothing else",
	"runtime/fork":     "the addresses that linkname'd functions need",
}

// sleepAllowed lists files that may call time.Sleep outside of tests, with the reason.
var sleepAllowed = map[string]string{
	"internal/testutil": "polls for goroutines that end, of which nothing tells",
}

// source is one parsed Go file of the product or the tests.
type source struct {
	folder, path string
	file         *ast.File
	lines        int
	test         bool
}

func parseAll(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	fset := token.NewFileSet()
	var all []source
	for _, p := range listPackages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, source{
				folder: p.folder(), path: p.folder() + "/" + filepath.Base(path), file: f,
				lines: fset.File(f.Pos()).LineCount(), test: strings.HasSuffix(path, "_test.go"),
			})
		}
	}
	return fset, all
}

func TestNoInit(t *testing.T) {
	_, files := parseAll(t)
	for _, s := range files {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has init(): what runs at start is called by main, in an order that can be read", s.path)
			}
		}
	}
}

// TestNoPackageState wants package-level variables to be constants in all but name: error sentinels, tables and compiled
// patterns that nothing assigns to again.
func TestNoPackageState(t *testing.T) {
	_, files := parseAll(t)
	for _, s := range files {
		if s.test || stateAllowed[s.folder] != "" {
			continue
		}
		names := packageVars(s.file)
		for _, v := range mutableTypes(s.file) {
			t.Errorf("%s: package variable %s is state: keep it in a struct that a constructor makes", s.path, v)
		}
		for _, name := range assigned(files, s.folder, names) {
			t.Errorf("%s: package variable %s is assigned to: keep it in a struct that a constructor makes", s.path, name)
		}
	}
}

// packageVars lists the names of package-level variables.
func packageVars(f *ast.File) []string {
	var names []string
	forVars(f, func(spec *ast.ValueSpec) {
		for _, n := range spec.Names {
			if n.Name != "_" {
				names = append(names, n.Name)
			}
		}
	})
	return names
}

func forVars(f *ast.File, do func(*ast.ValueSpec)) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				do(v)
			}
		}
	}
}

// mutableTypes lists variables whose type is made to change: locks, atomics, once values, channels, and those without a value.
func mutableTypes(f *ast.File) []string {
	var found []string
	forVars(f, func(v *ast.ValueSpec) {
		bad := len(v.Values) == 0 && v.Type != nil && !isEmptyInterfaceCheck(v)
		for _, value := range v.Values {
			call, ok := value.(*ast.CallExpr)
			if !ok {
				continue
			}
			if name := exprName(call.Fun); name == "make" || strings.HasPrefix(name, "sync.") || name == "new" {
				bad = true
			}
		}
		if bad {
			found = append(found, v.Names[0].Name)
		}
	})
	return found
}

func isEmptyInterfaceCheck(v *ast.ValueSpec) bool { return v.Names[0].Name == "_" }

func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprName(e.X) + "." + e.Sel.Name
	case *ast.IndexExpr:
		return exprName(e.X)
	default:
		return ""
	}
}

// assigned lists the variables that some function of the package assigns to, or changes an element of. A local variable of
// the same name declared in the function hides the package's.
func assigned(files []source, folder string, names []string) []string {
	var found []string
	for _, s := range files {
		if s.folder != folder || s.test {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			local := localNames(f)
			ast.Inspect(f.Body, func(n ast.Node) bool {
				for _, target := range targets(n) {
					if slices.Contains(names, target) && !local[target] && !slices.Contains(found, target) {
						found = append(found, target)
					}
				}
				return true
			})
		}
	}
	return found
}

// targets lists the root names that a statement changes.
func targets(n ast.Node) []string {
	var exprs []ast.Expr
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			exprs = n.Lhs
		}
	case *ast.IncDecStmt:
		exprs = []ast.Expr{n.X}
	}
	var names []string
	for _, e := range exprs {
		for {
			if i, ok := e.(*ast.IndexExpr); ok {
				e = i.X
				continue
			}
			break
		}
		if id, ok := e.(*ast.Ident); ok {
			names = append(names, id.Name)
		}
	}
	return names
}

func localNames(f *ast.FuncDecl) map[string]bool {
	local := map[string]bool{}
	add := func(list *ast.FieldList) {
		if list == nil {
			return
		}
		for _, field := range list.List {
			for _, n := range field.Names {
				local[n.Name] = true
			}
		}
	}
	add(f.Recv)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncType:
			add(n.Params)
			add(n.Results)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					local[exprName(e)] = true
				}
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				local[exprName(n.Key)], local[exprName(n.Value)] = true, true
			}
		}
		return true
	})
	return local
}

func TestOnePackageComment(t *testing.T) {
	_, files := parseAll(t)
	docs := map[string][]string{}
	for _, s := range files {
		docs[s.folder] = append(docs[s.folder], "")
		if s.file.Doc != nil && !s.test {
			docs[s.folder] = append(docs[s.folder], s.path)
		}
	}
	for folder, list := range docs {
		list = slices.DeleteFunc(list, func(p string) bool { return p == "" })
		if len(list) != 1 {
			t.Errorf("%s has %d package comments %v, want one that says what the package owns and never does", folder, len(list), list)
		}
	}
}

func TestNoSleep(t *testing.T) {
	fset, files := parseAll(t)
	for _, s := range files {
		if s.test || sleepAllowed[s.folder] != "" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && exprName(c.Fun) == "time.Sleep" {
				t.Errorf("%s sleeps: wait for an event", fset.Position(c.Pos()))
			}
			return true
		})
	}
}

func TestNoVagueNames(t *testing.T) {
	for _, p := range listPackages(t) {
		switch name := filepath.Base(p.ImportPath); name {
		case "util", "utils", "common", "types", "helpers", "misc", "runtime":
			if len(p.GoFiles) > 0 {
				t.Errorf("package %s: %q says nothing", p.folder(), name)
			}
		}
	}
}

// The limits of size, in lines.
const (
	fileMedian, fileP90 = 120, 400
	functionMax         = 80
	functionShare       = 3 // per cent that may be longer
)

func TestSizes(t *testing.T) {
	fset, files := parseAll(t)
	var sizes []int
	var long []string
	functions := 0
	for _, s := range files {
		if s.test {
			continue
		}
		sizes = append(sizes, s.lines)
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			functions++
			if n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; n > functionMax {
				long = append(long, fmt.Sprintf("%s: %s has %d lines", s.path, f.Name.Name, n))
			}
		}
	}
	slices.Sort(sizes)
	median, p90 := sizes[len(sizes)/2], sizes[len(sizes)*9/10]
	t.Logf("%d files, median %d lines, p90 %d, largest %d; %d functions, %d longer than %d lines", len(sizes), median, p90, sizes[len(sizes)-1], functions, len(long), functionMax)
	if median > fileMedian || p90 > fileP90 {
		t.Errorf("files: median %d (at most %d), p90 %d (at most %d)", median, fileMedian, p90, fileP90)
	}
	if 100*len(long) > functionShare*functions {
		t.Errorf("more than %d %% of functions are longer than %d lines:\n%s", functionShare, functionMax, strings.Join(long, "\n"))
	}
}
