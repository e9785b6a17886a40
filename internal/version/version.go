// Package version says which build this is. It owns the one variable that the linker sets.
package version

import (
	"regexp"
	"runtime/debug"
	"strings"
)

// Version is set by the build (-ldflags -X), to what `git describe` says. Nothing writes it later.
var Version string

// String returns the version for people: the linker's, else the revision that Go stamped, else "unknown".
func String() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return "unknown"
}

// Semantic returns the version in the form of semver.org, which CRI asks for: a build without a tag is 0.0.0 with what
// is known of it after the plus sign.
func Semantic() string { return semantic(String()) }

func semantic(v string) string {
	v = strings.TrimPrefix(v, "v")
	if regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`).MatchString(v) {
		return v
	}
	return "0.0.0+" + regexp.MustCompile(`[^0-9A-Za-z.-]+`).ReplaceAllString(v, "-")
}
