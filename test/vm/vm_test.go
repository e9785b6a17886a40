package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConsoleIsCounted(t *testing.T) {
	all := parseConsole("boot noise\r\n@@job a/b\r\n=== RUN TestX\r\n--- FAIL: TestX (0.1s)\r\n    --- PASS: TestX/one (0.0s)\r\n    --- FAIL: TestX/two (0.0s)\r\n--- SKIP: TestY (0s)\r\n@@end a/b 1\r\n" +
		"@@job leaks\r\n--- PASS: TestZ (0.1s)\r\nLEAK: 1 × open file\r\n@@end leaks 1\r\n" +
		"@@job empty\r\n@@end empty 0\r\n@@job hangs\r\n--- PASS: TestH (0s)\r\n")
	for folder, want := range map[string][3]int{"a/b": {1, 1, 1}, "leaks": {1, 1, 0}, "empty": {0, 1, 0}, "hangs": {1, 1, 0}} {
		p, f, s := all[folder].count()
		if got := [3]int{p, f, s}; got != want {
			t.Errorf("%s: %v, want %v", folder, got, want)
		}
	}
}

func TestEveryJobHasTests(t *testing.T) {
	if _, err := chooseJobs("../..", nil); err != nil {
		t.Error(err)
	}
	if _, err := chooseJobs("../..", []string{"no/such"}); err == nil {
		t.Error("an unknown job is accepted")
	}
}

// A package that gives its tests a main has them run in namespaces, against the kernel: so this one should see them too.
func TestPackagesThatTouchTheKernelAreJobs(t *testing.T) {
	for _, tree := range []string{"runtime", "netns", "cni-plugins"} {
		err := filepath.WalkDir(filepath.Join("../..", tree), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			folder := strings.TrimPrefix(filepath.Dir(path), "../../")
			isJob := slices.ContainsFunc(allJobs(), func(j job) bool { return j.folder == folder })
			if bytes.Contains(data, []byte("\nfunc TestMain(")) && !isJob {
				t.Errorf("%s has tests that touch the kernel, and no job", folder)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestLibrariesOfAProgram(t *testing.T) {
	list := "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
	if got := listedLibraries(list); !slices.Equal(got, []string{"/lib/x86_64-linux-gnu/libc.so.6"}) {
		t.Errorf("%q", got)
	}
}

func TestFailuresAreShown(t *testing.T) {
	text := failures("@@job good\r\n=== RUN   TestA\r\nnoise\r\n--- PASS: TestA (0s)\r\n@@end good 0\r\n" +
		"@@job bad\r\n=== RUN   TestB\r\nnoise\r\n--- PASS: TestB (0s)\r\n=== RUN   TestC\r\n=== RUN   TestC/x\r\n    c_test.go:1: why\r\n--- FAIL: TestC (0s)\r\n    --- FAIL: TestC/x (0s)\r\n@@end bad 1\r\n" +
		"@@job leaks\r\n=== RUN   TestD\r\n--- PASS: TestD (0s)\r\nLEAK: 1 × open file\r\n@@end leaks 1\r\n@@job hangs\r\n=== RUN   TestE\r\n")
	lines := strings.Split(text, "\n")
	for _, want := range []string{"FAILED: vm: bad TestC", "FAILED: vm: bad TestC/x", "    c_test.go:1: why", "FAILED: vm: leaks", "LEAK: 1 × open file", "FAILED: vm: hangs did not end"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "noise") {
		t.Errorf("what passed is shown:\n%s", text)
	}
}
