package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pkg is what the go command tells about a package of this module.
type pkg struct {
	Dir, ImportPath   string
	Imports, Deps     []string
	GoFiles, CgoFiles []string
}

// folder is the package's folder relative to the repository.
func (p pkg) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// listPackages lists this module's packages without their tests.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=Dir,ImportPath,Imports,Deps,GoFiles,CgoFiles", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("found %d packages only", len(all))
	}
	return all
}

// under tells whether path is pattern, or lies below a pattern that ends with "/…".
func under(pattern, path string) bool {
	if base, ok := strings.CutSuffix(pattern, "/…"); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

func underAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return under(p, path) })
}

func TestOnlySomeImport(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range onlyRules {
		for _, p := range packages {
			if underAny(rule.by, p.folder()) {
				continue
			}
			for _, imported := range p.Imports {
				if under(rule.target, imported) {
					t.Errorf("%s imports %s; only %s may: %s", p.folder(), imported, strings.Join(rule.by, ", "), rule.because)
				}
			}
		}
	}
}

func TestNeverDependsOn(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range neverRules {
		for _, p := range packages {
			if !under(rule.from, p.folder()) || strings.HasPrefix(p.folder(), "internal/testutil") {
				continue
			}
			for _, dep := range p.Deps {
				if underAny(rule.targets, dep) && !under(rule.from, strings.TrimPrefix(dep, module+"/")) {
					t.Errorf("%s depends on %s: %s", p.folder(), dep, rule.because)
				}
			}
		}
	}
}

func TestRulesNameFoldersThatExist(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range neverRules {
		if !slices.ContainsFunc(packages, func(p pkg) bool { return under(rule.from, p.folder()) }) {
			t.Errorf("no package is %s: the rule %q checks nothing", rule.from, rule.because)
		}
	}
}

func TestNoCgo(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.CgoFiles) > 0 || slices.Contains(p.Imports, "C") {
			t.Errorf("%s uses cgo: everything builds with CGO_ENABLED=0", p.folder())
		}
	}
}
