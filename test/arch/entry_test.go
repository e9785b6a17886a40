package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestEntrySignals wants the entries of berth-oci, in assembly, to block the signals that internal/sys catches: else none are
// passed on.
func TestEntrySignals(t *testing.T) {
	entries, err := filepath.Glob("../../runtime/cmd/berth-oci/entry_*.s")
	if err != nil || len(entries) != 2 {
		t.Fatalf("%q, %v", entries, err)
	}
	catchable := constant(t, "../../internal/sys/catch.go", `(?m)^const catchable = (0x[0-9a-f]{16})$`)
	for _, path := range entries {
		if got := constant(t, path, `(?m)^#define FORWARDED +(0x[0-9a-f]{16})$`); got != catchable {
			t.Errorf("%s blocks %s, internal/sys catches %s", path, got, catchable)
		}
	}
}

// constant returns what the group of a pattern matches in a file.
func constant(t *testing.T, path, pattern string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(pattern).FindSubmatch(data)
	if m == nil {
		t.Fatalf("%s has no %s", path, pattern)
	}
	return string(m[1])
}
