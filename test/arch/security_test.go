package arch

import (
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	testOfRow = regexp.MustCompile("`([a-z0-9/-]+): (Test[A-Za-z0-9_]+)`")
	cveOfTest = regexp.MustCompile(`_(\d{4})_(\d{4,})`)
)

// TestSecurityTable wants docs/security.md to name tests that exist, in the rows of their CVEs, and none to be missing there.
func TestSecurityTable(t *testing.T) {
	data, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{} // "folder: Test"
	_, files := parseAll(t)
	for _, s := range files {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && strings.HasPrefix(f.Name.Name, "Test") {
				have[s.folder+": "+f.Name.Name] = true
			}
		}
	}
	named := map[string]bool{}
	for row := range strings.Lines(string(data)) {
		for _, m := range testOfRow.FindAllStringSubmatch(row, -1) {
			name := m[1] + ": " + m[2]
			if named[name] = true; !have[name] {
				t.Errorf("docs/security.md names %s, which does not exist", name)
			}
			for _, cve := range cveOfTest.FindAllStringSubmatch(m[2], -1) {
				if id := "CVE-" + cve[1] + "-" + cve[2]; !strings.Contains(row, id) {
					t.Errorf("docs/security.md: the row of %s does not name %s", name, id)
				}
			}
		}
	}
	for name := range have {
		if strings.Contains(name, ": TestCVE_") && !named[name] {
			t.Errorf("docs/security.md does not name %s", name)
		}
	}
}

// descriptorsOnly lists folders whose files may not use the functions of package os that take a path, as most of their paths
// are a container's, which are resolved by openat2 in one root.
var descriptorsOnly = []string{"runtime/rootfs", "runtime/plan", "runtime/prepare", "runtime/container", "runtime/fork"}

// pathsAllowed lists the uses that are left, each with the reason. A path that begins with "/proc/" in the source is the
// host's.
var pathsAllowed = map[string]string{
	"runtime/prepare/prepare.go Stat":       "whether the kernel has a file in proc or sysfs, asked of the host's",
	"runtime/prepare/userns.go Stat":        "a namespace in the host's proc",
	"runtime/prepare/facts.go ReadFile":     "the kernel's own files, by constants",
	"runtime/container/runtime.go MkdirAll": "the state folder",
	"runtime/container/delete.go RemoveAll": "a container's folder below the state folder",
}

func TestPathsOfContainersAreDescriptors(t *testing.T) {
	takesPath := map[string]bool{}
	for _, name := range []string{
		"Chdir", "Chmod", "Chown", "Chtimes", "Create", "CreateTemp", "DirFS", "Lchown", "Link", "Lstat", "Mkdir", "MkdirAll", "MkdirTemp", "Open",
		"OpenFile", "OpenRoot", "ReadDir", "ReadFile", "Readlink", "Remove", "RemoveAll", "Rename", "Stat", "Symlink", "Truncate", "WriteFile",
	} {
		takesPath[name] = true
	}
	_, files := parseAll(t)
	used := map[string]bool{}
	for _, s := range files {
		if s.test || !slices.Contains(descriptorsOnly, s.folder) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !takesPath[f.Sel.Name] || !isPackage(f.X, "os") || beginsWithProc(call.Args[0]) {
				return true
			}
			use := s.path + " " + f.Sel.Name
			if used[use] = true; pathsAllowed[use] == "" {
				t.Errorf("%s uses os.%s: paths of containers are resolved by package rootfs", s.path, f.Sel.Name)
			}
			return true
		})
	}
	for use := range pathsAllowed {
		if !used[use] {
			t.Errorf("%s is allowed and not there", use)
		}
	}
}

func isPackage(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// beginsWithProc tells whether an expression is a string, or a sum that starts with one, that begins with "/proc/".
func beginsWithProc(e ast.Expr) bool {
	for {
		sum, ok := e.(*ast.BinaryExpr)
		if !ok {
			break
		}
		e = sum.X
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return false
	}
	text, err := strconv.Unquote(lit.Value)
	return err == nil && strings.HasPrefix(text, "/proc/")
}
