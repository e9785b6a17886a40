package spec

// The paths of /proc and /sys that tell about the host or reach into it. They are the kubelet's own lists.

func defaultMaskedPaths() []string {
	return []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
		"/sys/devices/virtual/powercap",
	}
}

func defaultReadonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// masks returns the paths to hide and to make read-only. CRI has no way to tell an empty list from none: the kubelet sends
// empty ones for procMount Unmasked, which Kubernetes allows only together with a user namespace, and the full ones
// otherwise. So empty ones without a user namespace come from a client that did not say, and get the defaults.
func masks(p PodConfig, s ContainerSecurity) (masked, readonly []string) {
	if s.Privileged {
		return nil, nil
	}
	if len(s.MaskedPaths) == 0 && len(s.ReadonlyPaths) == 0 && Users(p) == nil {
		return defaultMaskedPaths(), defaultReadonlyPaths()
	}
	return s.MaskedPaths, s.ReadonlyPaths
}
