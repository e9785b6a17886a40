package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// checkCgroupParent refuses what names no group, whatever the driver.
func checkCgroupParent(parent string) error {
	if err := checkText("cgroup parent", parent, maxPath); err != nil {
		return err
	}
	if slices.Contains(strings.Split(parent, "/"), "..") {
		return errdefs.Invalid("cgroup parent %q has '..' in it", parent)
	}
	return nil
}

// CgroupParent returns the cgroup that a pod's containers live under with the cgroupfs driver: the client's, or fallback if
// it names none.
//
// A slice ("kubepods-besteffort.slice") is refused: it belongs to systemd, which may take away from it what it did not
// put there. RuntimeConfig tells clients which driver berth has, so only one that was told otherwise sends it.
func CgroupParent(parent, fallback string) (string, error) {
	if parent == "" {
		return fallback, nil
	}
	if err := checkCgroupParent(parent); err != nil {
		return "", err
	}
	if strings.HasSuffix(parent, ".slice") || strings.Contains(parent, ":") {
		return "", errdefs.NotSupported("cgroup parent %q is a systemd slice, but berth's cgroup driver is cgroupfs: "+
			"set cgroupDriver: cgroupfs in the kubelet's configuration", parent)
	}
	return path.Join("/", parent), nil
}
