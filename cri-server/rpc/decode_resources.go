package rpc

import (
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/spec"
)

// resources converts limits. Values stay as they are: zero means "not said", and what the kernel refuses is reported by
// the cgroup.
func (d *decoder) resources(field string, r *runtimeapi.LinuxContainerResources) *spec.Resources {
	if r == nil {
		return nil
	}
	if r.GetOomScoreAdj() < -1000 || r.GetOomScoreAdj() > 1000 {
		d.fail(field+".oom_score_adj", "%d is not within -1000 and 1000", r.GetOomScoreAdj())
	}
	return &spec.Resources{
		CPUPeriod:   r.GetCpuPeriod(),
		CPUQuota:    r.GetCpuQuota(),
		CPUShares:   r.GetCpuShares(),
		Memory:      r.GetMemoryLimitInBytes(),
		MemorySwap:  r.GetMemorySwapLimitInBytes(),
		OOMScoreAdj: r.GetOomScoreAdj(),
		CPUSetCPUs:  d.line(field+".cpuset_cpus", r.GetCpusetCpus(), maxPath),
		CPUSetMems:  d.line(field+".cpuset_mems", r.GetCpusetMems(), maxPath),
		Hugepages:   d.hugepages(field+".hugepage_limits", r.GetHugepageLimits()),
		Unified:     d.unified(field+".unified", r.GetUnified()),
	}
}

func (d *decoder) hugepages(field string, list []*runtimeapi.HugepageLimit) []spec.HugepageLimit {
	d.count(field, len(list))
	var limits []spec.HugepageLimit
	for i, l := range list {
		limits = append(limits, spec.HugepageLimit{
			PageSize: d.required(fmt.Sprintf("%s[%d].page_size", field, i), l.GetPageSize(), 32),
			Limit:    l.GetLimit(),
		})
	}
	return limits
}

// unified names files of a cgroup, so a key is a file's name and nothing else.
func (d *decoder) unified(field string, m map[string]string) map[string]string {
	d.pairs(field, m)
	for k, v := range m {
		d.line(fmt.Sprintf("%s[%.64s]", field, k), v, maxPath)
		if !isCgroupFile(k) {
			d.fail(field, "%.64q is not the name of a cgroup file", k)
		}
	}
	return m
}

func isCgroupFile(name string) bool {
	if name == "" || name[0] == '.' || len(name) > 128 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
