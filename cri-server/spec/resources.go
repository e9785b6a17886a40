package spec

import (
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func checkResources(_ PodConfig, c ContainerConfig) error { return CheckResources(c.Resources) }

// CheckResources refuses what no kernel takes. Nil is fine.
func CheckResources(r *Resources) error {
	if r == nil {
		return nil
	}
	if r.CPUPeriod < 0 || r.CPUShares < 0 || r.CPUQuota < -1 {
		return errdefs.Invalid("negative CPU period, shares or quota: %d, %d, %d", r.CPUPeriod, r.CPUShares, r.CPUQuota)
	}
	if r.Memory < -1 || r.MemorySwap < -1 {
		return errdefs.Invalid("negative memory limit: %d, with swap %d", r.Memory, r.MemorySwap)
	}
	if r.MemorySwap > 0 && r.Memory > r.MemorySwap {
		return errdefs.Invalid("limit of memory and swap together (%d) is below the one of memory (%d)", r.MemorySwap, r.Memory)
	}
	if r.OOMScoreAdj < -1000 || r.OOMScoreAdj > 1000 {
		return errdefs.Invalid("oom_score_adj %d is outside -1000-1000", r.OOMScoreAdj)
	}
	for what, s := range map[string]string{"cpuset_cpus": r.CPUSetCPUs, "cpuset_mems": r.CPUSetMems} {
		for _, c := range s {
			if (c < '0' || c > '9') && c != ',' && c != '-' {
				return errdefs.Invalid("%s %q is not a list of numbers and ranges", what, s)
			}
		}
	}
	for key, value := range r.Unified {
		if err := checkUnified(key, value); err != nil {
			return err
		}
	}
	return nil
}

// checkUnified keeps a key to one file of a cgroup's folder that is a setting and not a control ("cgroup.kill").
func checkUnified(key, value string) error {
	for _, c := range key {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' {
			return errdefs.Invalid("unified setting %q is not the name of a cgroup file", key)
		}
	}
	controller, _, ok := cutDot(key)
	if !ok || controller == "" || controller == "cgroup" {
		return errdefs.Invalid("unified setting %q is not CONTROLLER.SETTING", key)
	}
	if len(value) > maxText || slices.Contains([]byte(value), 0) {
		return errdefs.Invalid("value of unified setting %s is too long or has a NUL in it", key)
	}
	return nil
}

func cutDot(s string) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// LinuxResources converts limits; what the client did not say stays nil, for the kernel's default or, in an update, for
// what is set already. The device rules are Build's.
func LinuxResources(r *Resources, h Host) (*specs.LinuxResources, error) {
	if err := CheckResources(r); err != nil {
		return nil, err
	}
	out := &specs.LinuxResources{}
	if r == nil {
		return out, nil
	}
	out.CPU, out.Memory, out.Unified = cpu(r), memory(r), r.Unified
	for _, l := range r.Hugepages {
		if len(h.HugepageSizes) > 0 && !slices.Contains(h.HugepageSizes, l.PageSize) {
			if l.Limit == 0 { // the kubelet names every size there may be
				continue
			}
			return nil, errdefs.NotSupported("this host has no huge pages of %s", l.PageSize)
		}
		out.HugepageLimits = append(out.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: l.PageSize, Limit: l.Limit})
	}
	return out, nil
}

func cpu(r *Resources) *specs.LinuxCPU {
	if r.CPUPeriod == 0 && r.CPUQuota == 0 && r.CPUShares == 0 && r.CPUSetCPUs == "" && r.CPUSetMems == "" {
		return nil
	}
	out := &specs.LinuxCPU{Cpus: r.CPUSetCPUs, Mems: r.CPUSetMems}
	if r.CPUPeriod != 0 {
		period := uint64(r.CPUPeriod)
		out.Period = &period
	}
	if r.CPUQuota != 0 {
		quota := r.CPUQuota
		out.Quota = &quota
	}
	if r.CPUShares != 0 {
		shares := uint64(r.CPUShares)
		out.Shares = &shares
	}
	return out
}

func memory(r *Resources) *specs.LinuxMemory {
	if r.Memory == 0 && r.MemorySwap == 0 {
		return nil
	}
	out := &specs.LinuxMemory{}
	if r.Memory != 0 {
		limit := r.Memory
		out.Limit = &limit
	}
	if r.MemorySwap != 0 {
		swap := r.MemorySwap
		out.Swap = &swap
	}
	return out
}

// containerResources is LinuxResources for a container. One with a limit of memory that says nothing of swap has none, as
// with other CRI servers: else what the limit keeps out of memory would go to the node's disk.
func containerResources(r *Resources, h Host) (*specs.LinuxResources, error) {
	out, err := LinuxResources(r, h)
	if err == nil && out.Memory != nil && r.Memory > 0 && r.MemorySwap == 0 {
		out.Memory.Swap = out.Memory.Limit
	}
	return out, err
}

// UpdateResources converts an update of a container's old limits. One that changes memory and says nothing of swap leaves a
// container without swap if it had none, and else what it had.
func UpdateResources(old, update *Resources, h Host) (*specs.LinuxResources, error) {
	if old != nil && old.MemorySwap != 0 && old.MemorySwap != old.Memory {
		return LinuxResources(update, h)
	}
	return containerResources(update, h)
}

// Merge returns old with what update says; zero values of update say nothing. Neither is changed.
func Merge(old, update *Resources) *Resources {
	out := Resources{}
	if old != nil {
		out = *old
	}
	if update == nil {
		return &out
	}
	pick := func(to *int64, from int64) {
		if from != 0 {
			*to = from
		}
	}
	pick(&out.CPUPeriod, update.CPUPeriod)
	pick(&out.CPUQuota, update.CPUQuota)
	pick(&out.CPUShares, update.CPUShares)
	pick(&out.Memory, update.Memory)
	pick(&out.MemorySwap, update.MemorySwap)
	if update.CPUSetCPUs != "" {
		out.CPUSetCPUs = update.CPUSetCPUs
	}
	if update.CPUSetMems != "" {
		out.CPUSetMems = update.CPUSetMems
	}
	if update.Hugepages != nil {
		out.Hugepages = slices.Clone(update.Hugepages)
	}
	if update.Unified != nil {
		unified := map[string]string{}
		for _, m := range []map[string]string{out.Unified, update.Unified} {
			maps.Copy(unified, m)
		}
		out.Unified = unified
	}
	return &out
}
