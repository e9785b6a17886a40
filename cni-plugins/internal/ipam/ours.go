package ipam

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"runtime/debug"
)

// isOurs tells whether a program is the one of berth's plugins with this name, built from the same source as this process.
func isOurs(path, name string) bool {
	self, err := os.Executable()
	if err != nil || filepath.Dir(self) != filepath.Dir(path) {
		return false // installed apart, so not together
	}
	own, ok := debug.ReadBuildInfo()
	if !ok || filepath.Dir(own.Path) == "." {
		return false
	}
	other, err := buildinfo.ReadFile(path)
	return err == nil && other.Path == filepath.Dir(own.Path)+"/"+name && revision(other) == revision(own)
}

// revision names the source that a program was built from; builds of a changed tree count as the same.
func revision(info *debug.BuildInfo) string {
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}
