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
	cveOfRow  = regexp.MustCompile(`CVE-(\d{4})-(\d{4,})`)
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
		for _, id := range cveOfRow.FindAllStringSubmatch(row, -1) {
			if !strings.Contains(row, "_"+id[1]+"_"+id[2]) {
				t.Errorf("docs/security.md: no test in the row of CVE-%s-%s is named by it", id[1], id[2])
			}
		}
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

// runsPrograms lists the files that can run a program, each with whose it is. Those of a container's root run only as its own
// processes.
var runsPrograms = map[string]string{
	"cni-plugins/internal/ipam/delegate.go": "a CNI plugin beside the one that runs",
	"cri-server/network/exec.go":            "CNI plugins, from the folders of the node's settings",
	"internal/sys/handover.go":              "for those who execute a program that they have open",
	"runtime/cgroup/group.go":               "no program: it holds the placeholder of scope.go",
	"runtime/cgroup/scope.go":               "a placeholder of the module's own, from memory",
	"runtime/cmd/berth-oci/seal.go":         "berth-oci itself, from an open file",
	"runtime/cmd/berth-oci/show.go":         "ps of the host, as runc does",
	"runtime/keeper/try.go":                 "the keeper's successor, from an open file",
	"runtime/keeper/upgrade.go":             "the keeper's successor, from an open file",
	"runtime/lsm/default.go":                "AppArmor's parser, of the host",
	"runtime/oci/create_hooks.go":           "hooks that are to run in the container, with its rights",
	"runtime/oci/hooks.go":                  "hooks of the bundle, which the host's root wrote",
	"runtime/plan/program_process.go":       "the container's own process",
	"runtime/supervise/start.go":            "the keeper, by the path of the node's settings",
	"runtime/userns/make.go":                "nothing: an execve that is meant to fail ends the program",
}

// Docker unpacked layers with a program that it looked up in a container's root, or loaded libraries from there: whatever the
// image had by the name of xz ran as root of the host (CVE-2026-41567, CVE-2019-14271). Here layers are decompressed by code of
// this module, and each file that can run a program is listed, as is each that can load code.
func TestCVE_2026_41567_NoHelperPrograms(t *testing.T) {
	_, files := parseAll(t)
	used := map[string]bool{}
	for _, s := range files {
		if s.test || !isProduct(s.folder) || !mayRun(s.file) {
			continue
		}
		if used[s.path] = true; runsPrograms[s.path] == "" {
			t.Errorf("%s runs programs: say in runsPrograms whose they are", s.path)
		}
	}
	for path := range runsPrograms {
		if !used[path] {
			t.Errorf("%s is listed and runs nothing", path)
		}
	}
}

func isProduct(folder string) bool {
	return !strings.HasPrefix(folder, "test/") && !strings.Contains(folder, "/testdata/") && folder != "internal/testutil" && !strings.HasPrefix(folder, "hack")
}

// mayRun tells whether a file imports what runs programs or loads code, or calls it by its other names.
func mayRun(f *ast.File) bool {
	for _, i := range f.Imports {
		if path := i.Path.Value; path == `"os/exec"` || path == `"plugin"` {
			return true
		}
	}
	names := []string{"StartProcess", "ForkExec", "Exec", "ExecFile", "NrExecve", "NrExecveat"}
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			found = found || slices.Contains(names, sel.Sel.Name) && (isPackage(sel.X, "os") || isPackage(sel.X, "syscall") || isPackage(sel.X, "unix") || isPackage(sel.X, "sys"))
		}
		return !found
	})
	return found
}
