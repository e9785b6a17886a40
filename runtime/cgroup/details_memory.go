package cgroup

import "github.com/berth-runtime/berth/internal/sys"

func (d *Details) readMemoryDetails(dir *sys.Dir, v2 bool) (err error) {
	if d.MemoryRaw, err = readFlat(dir, "memory.stat"); err != nil {
		return err
	}
	if v2 {
		return d.readMemoryV2(dir)
	}
	for prefix, to := range map[string]*MemoryUse{
		"memory.": &d.MemoryUse, "memory.memsw.": &d.MemorySwap, "memory.kmem.": &d.Kernel, "memory.kmem.tcp.": &d.KernelTCP,
	} {
		if err := readNumbers(dir, map[string]*uint64{
			prefix + "usage_in_bytes": &to.Usage, prefix + "max_usage_in_bytes": &to.Peak,
			prefix + "limit_in_bytes": &to.Limit, prefix + "failcnt": &to.Failures,
		}); err != nil {
			return err
		}
		to.Limit = limitOf(to.Limit)
	}
	return nil
}

func (d *Details) readMemoryV2(dir *sys.Dir) error {
	d.Kernel.Usage = d.MemoryRaw["kernel"] // Linux 5.18
	for prefix, to := range map[string]*MemoryUse{"memory.": &d.MemoryUse, "memory.swap.": &d.SwapUse} {
		if err := readNumbers(dir, map[string]*uint64{
			prefix + "current": &to.Usage, prefix + "peak": &to.Peak, prefix + "max": &to.Limit, // peak: Linux 5.19, swap's 6.5
		}); err != nil {
			return err
		}
		to.Limit = limitOf(to.Limit)
		events, err := readFlat(dir, prefix+"events")
		if err := optional(err); err != nil {
			return err
		}
		to.Failures = events["max"]
	}
	return nil
}

// readNumbers reads one number a file. Files that this kernel does not have leave zero.
func readNumbers(dir *sys.Dir, files map[string]*uint64) error {
	for file, to := range files {
		n, err := readNumber(dir, file)
		if err := optional(err); err != nil {
			return err
		}
		*to = n
	}
	return nil
}
