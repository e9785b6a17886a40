package spec

import (
	"fmt"
	"path"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// CheckContainer says what in a container's configuration is wrong (errdefs.ErrInvalid) or can't be done
// (errdefs.ErrNotSupported), as far as that shows without its image.
func CheckContainer(p PodConfig, c ContainerConfig) error {
	if err := checkText("container name", c.Name, maxText); err != nil {
		return err
	}
	if c.Name == "" {
		return errdefs.Invalid("the container's metadata has no name")
	}
	if c.Image == "" {
		return errdefs.Invalid("container %s names no image", c.Name)
	}
	checks := []func(PodConfig, ContainerConfig) error{
		checkSecurity, checkNamespaces, checkUser, checkProcess, checkLog, checkMounts, checkDevices, checkResources,
	}
	for _, check := range checks {
		if err := check(p, c); err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
	}
	return nil
}

// CheckHost says what a container asks of this machine that it can't give, before anything is made for it.
func CheckHost(h Host, c ContainerConfig) error {
	if _, err := apparmor(c.Security, h.AppArmor); err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	return nil
}

func checkSecurity(_ PodConfig, c ContainerConfig) error {
	if len(c.CDIDevices) > 0 {
		return errdefs.NotSupported("CDI devices %q: berth can't inject CDI devices yet", c.CDIDevices)
	}
	for key := range c.Annotations {
		if strings.HasPrefix(key, "cdi.k8s.io/") {
			return errdefs.NotSupported("annotation %s: berth can't inject CDI devices yet", key)
		}
	}
	if err := checkCapabilities(c.Security.Capabilities); err != nil {
		return err
	}
	if err := checkSELinux(c.Security.SELinux); err != nil {
		return err
	}
	if c.Security.Privileged {
		return nil // CRI: privileged implies that what follows does not confine
	}
	return checkSeccomp(c.Security.Seccomp)
}

func profileName(s *SecurityProfile) string {
	if s.Type == ProfileRuntimeDefault {
		return "RuntimeDefault"
	}
	return "Localhost " + s.Ref
}

// checkLog keeps the log inside the pod's log folder: the path is written to by root.
func checkLog(p PodConfig, c ContainerConfig) error {
	if c.LogPath == "" {
		return nil
	}
	if err := checkText("log path", c.LogPath, maxPath); err != nil {
		return err
	}
	if p.LogDirectory == "" {
		return errdefs.Invalid("log path %q is given, but the pod has no log directory", c.LogPath)
	}
	if clean := path.Clean(c.LogPath); path.IsAbs(clean) || clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
		return errdefs.Invalid("log path %q leaves the pod's log directory", c.LogPath)
	}
	return nil
}

// LogPath returns the absolute path of a container's log, or "" if it wants none.
func LogPath(p PodConfig, c ContainerConfig) string {
	if c.LogPath == "" || p.LogDirectory == "" {
		return ""
	}
	return path.Join(p.LogDirectory, c.LogPath)
}
