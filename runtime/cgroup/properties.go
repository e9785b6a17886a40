package cgroup

import (
	"slices"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/runtime/systemd"
)

// properties tells systemd what is written to control files, so that it writes the same when it next has a reason to. What
// systemd has no word for is left to the files. CPU time is told in microseconds a second.
func properties(writes []write) []systemd.Property {
	var props []systemd.Property
	bandwidth := cpuBandwidth{period: 100000}
	for _, w := range writes {
		switch name, since := propertyName(w.file); {
		case name != "":
			if n, ok := parseBytes(strings.TrimPrefix(w.value, "default ")); ok {
				props = append(props, systemd.Property{Name: name, Value: n, Since: since})
			} else if w.value == "-1" {
				props = append(props, systemd.Property{Name: name, Value: uint64(noLimit), Since: since})
			}
		case w.file == "cpu.idle" && strings.TrimSpace(w.value) == "1":
			props = append(props, systemd.Property{Name: "CPUWeight", Value: uint64(0), Since: 252})
		case w.file == "cpuset.cpus", w.file == "cpuset.mems":
			name := map[string]string{"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}[w.file]
			if mask, ok := parseSet(strings.TrimSpace(w.value)); ok {
				props = append(props, systemd.Property{Name: name, Value: mask, Since: 244})
			}
		default:
			bandwidth.read(w)
		}
	}
	return append(props, bandwidth.properties()...)
}

// propertyName returns the property of a file that holds one number, and the first systemd that knows it.
func propertyName(file string) (name string, since int) {
	switch file {
	case "cpu.weight":
		return "CPUWeight", 232
	case "cpu.shares":
		return "CPUShares", 0
	case "memory.min":
		return "MemoryMin", 240
	case "memory.low":
		return "MemoryLow", 231
	case "memory.high":
		return "MemoryHigh", 231
	case "memory.max":
		return "MemoryMax", 231
	case "memory.swap.max":
		return "MemorySwapMax", 232
	case "memory.limit_in_bytes":
		return "MemoryLimit", 0
	case "pids.max":
		return "TasksMax", 227
	case "io.weight":
		return "IOWeight", 230
	}
	return "", 0
}

// cpuBandwidth collects quota and period, which v1 has in two files.
type cpuBandwidth struct {
	quota  uint64 // 0: not given
	period uint64
	given  bool // the period
}

func (b *cpuBandwidth) read(w write) {
	fields := strings.Fields(w.value)
	if len(fields) == 0 {
		return
	}
	switch w.file {
	case "cpu.max":
		b.setQuota(fields[0])
		if len(fields) == 2 {
			b.setPeriod(fields[1])
		}
	case "cpu.cfs_quota_us":
		b.setQuota(fields[0])
	case "cpu.cfs_period_us":
		b.setPeriod(fields[0])
	}
}

func (b *cpuBandwidth) setQuota(s string) {
	if n, err := parseNumber(s); err == nil {
		b.quota = n
	}
}

func (b *cpuBandwidth) setPeriod(s string) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 {
		b.period, b.given = n, true
	}
}

func (b *cpuBandwidth) properties() (props []systemd.Property) {
	if b.given {
		props = append(props, systemd.Property{Name: "CPUQuotaPeriodUSec", Value: b.period, Since: 242})
	}
	switch {
	case b.quota == noLimit:
		props = append(props, systemd.Property{Name: "CPUQuotaPerSecUSec", Value: uint64(noLimit)})
	case b.quota > 0 && b.quota < 1<<40:
		props = append(props, systemd.Property{Name: "CPUQuotaPerSecUSec", Value: b.quota * 1000000 / b.period})
	}
	return props
}

// deviceNode is D-Bus's (ss) of DeviceAllow: a device and operations.
type deviceNode struct{ Node, Access string }

// properties tells systemd of v1's list, which it would else set to "all" whenever it looks at the unit. On cgroup2 it
// attaches a program of its own beside ours only if it is told to, so it is told nothing.
func (g *deviceGuard) properties() []systemd.Property {
	if g == nil || g.list == nil {
		return nil
	}
	if g.list.allow { // a list of what is denied is nothing that systemd knows
		return []systemd.Property{{Name: "DevicePolicy", Value: "auto"}, {Name: "DeviceAllow", Value: []deviceNode{}}}
	}
	nodes := []deviceNode{}
	for set, a := range g.list.exceptions {
		kind := map[byte]string{'b': "block", 'c': "char"}[set.kind]
		node := "/dev/" + kind + "/" + strconv.FormatInt(set.major, 10) + ":" + strconv.FormatInt(set.minor, 10)
		switch {
		case set.major == anyNumber && set.minor == anyNumber:
			node = kind + "-*"
		case set.minor == anyNumber:
			node = kind + "-" + strconv.FormatInt(set.major, 10)
		case set.major == anyNumber: // nothing that systemd knows
			continue
		}
		nodes = append(nodes, deviceNode{node, a.String()})
	}
	slices.SortFunc(nodes, func(a, b deviceNode) int { return strings.Compare(a.Node, b.Node) })
	return []systemd.Property{{Name: "DevicePolicy", Value: "strict"}, {Name: "DeviceAllow", Value: nodes}}
}
