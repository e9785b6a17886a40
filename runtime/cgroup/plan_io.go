package cgroup

import (
	"fmt"
	"math"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// blkio plans weights and throttles. v1's controller is called blkio, v2's io.
func (p *planner) blkio(r *specs.LinuxResources) error {
	b := r.BlockIO
	if b == nil {
		return nil
	}
	if set16(b.LeafWeight) {
		return unable("blockIO.leafWeight", "its scheduler (CFQ) left Linux in 5.0")
	}
	weigh, throttle := p.weightV1, p.throttleV1
	if _, ok := p.v2("io"); ok {
		weigh, throttle = p.weightV2, p.throttleV2
	} else if set16(b.Weight) || len(b.WeightDevice) > 0 || len(throttles(b)) > 0 {
		if _, err := p.need("blkio", "blockIO"); err != nil {
			return err
		}
	}
	if set16(b.Weight) {
		if err := checkWeight("blockIO.weight", *b.Weight); err != nil {
			return err
		}
		weigh("blockIO.weight", "", *b.Weight)
	}
	for i, d := range b.WeightDevice {
		field := fmt.Sprintf("blockIO.weightDevice[%d]", i)
		if err := checkDeviceWeight(field, d); err != nil {
			return err
		}
		weigh(field+".weight", device(d.LinuxBlockIODevice), *d.Weight)
	}
	for _, t := range throttles(b) {
		if err := checkDevice(t.field, t.device.LinuxBlockIODevice); err != nil {
			return err
		}
		throttle(t)
	}
	return nil
}

func set16(v *uint16) bool { return v != nil && *v != 0 }

func checkDeviceWeight(field string, d specs.LinuxWeightDevice) error {
	if err := checkDevice(field, d.LinuxBlockIODevice); err != nil {
		return err
	}
	switch {
	case set16(d.LeafWeight):
		return unable(field+".leafWeight", "its scheduler (CFQ) left Linux in 5.0")
	case d.Weight == nil:
		return invalid(field+".weight", "missing")
	}
	return checkWeight(field+".weight", *d.Weight)
}

// checkWeight holds to the range that the spec has had since CFQ, the narrowest of the schedulers'.
func checkWeight(field string, w uint16) error {
	if w < 10 || w > 1000 {
		return invalid(field, "%d is not within 10 and 1000", w)
	}
	return nil
}

func checkDevice(field string, d specs.LinuxBlockIODevice) error {
	if d.Major < 0 || d.Minor < 0 || d.Major > math.MaxUint32 || d.Minor > math.MaxUint32 {
		return invalid(field, "%s is not the number of a device", device(d))
	}
	return nil
}

// weightV1 plans the weight of the group (dev is "") or on one device: BFQ's file, or CFQ's on a kernel that has it.
func (p *planner) weightV1(field, dev string, w uint16) {
	file, value := "weight", strconv.Itoa(int(w))
	if dev != "" {
		file, value = "weight_device", dev+" "+value
	}
	bfq := p.add(field, "blkio", "blkio.bfq."+file, value)
	cfq := *bfq
	cfq.file = "blkio." + file
	if dev != "" {
		bfq.keyed, bfq.reset = true, dev+" default"
		cfq.keyed, cfq.reset = true, dev+" 0"
	}
	bfq.or = &cfq
}

// weightV2 plans BFQ's own file, which takes v1's numbers, or else the one of the cost model, [1..10000].
func (p *planner) weightV2(field, dev string, w uint16) {
	if dev == "" {
		dev = "default"
	}
	reset := dev + " default"
	if dev == "default" {
		reset = "default 100"
	}
	cost := 1 + (uint64(w)-10)*9999/990
	model := write{
		field: field, controller: "io", file: "io.weight", value: dev + " " + strconv.FormatUint(cost, 10), keyed: true, reset: reset,
	}
	bfq := p.add(field, "io", "io.bfq.weight", dev+" "+strconv.Itoa(int(w)))
	bfq.keyed, bfq.reset, bfq.or = true, reset, &model
}

// throttled is one rate with the names that v1 and v2 have for it.
type throttled struct {
	field, file, key string
	device           specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) (all []throttled) {
	for _, t := range []struct {
		field, file, key string
		list             []specs.LinuxThrottleDevice
	}{
		{"throttleReadBpsDevice", "read_bps_device", "rbps", b.ThrottleReadBpsDevice},
		{"throttleWriteBpsDevice", "write_bps_device", "wbps", b.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", "read_iops_device", "riops", b.ThrottleReadIOPSDevice},
		{"throttleWriteIOPSDevice", "write_iops_device", "wiops", b.ThrottleWriteIOPSDevice},
	} {
		for i, d := range t.list {
			all = append(all, throttled{fmt.Sprintf("blockIO.%s[%d]", t.field, i), t.file, t.key, d})
		}
	}
	return all
}

func (p *planner) throttleV1(t throttled) {
	dev := device(t.device.LinuxBlockIODevice)
	w := p.add(t.field, "blkio", "blkio.throttle."+t.file, dev+" "+strconv.FormatUint(t.device.Rate, 10))
	w.keyed, w.reset = true, dev+" 0"
}

func (p *planner) throttleV2(t throttled) {
	rate := "max"
	if t.device.Rate != 0 {
		rate = strconv.FormatUint(t.device.Rate, 10)
	}
	dev := device(t.device.LinuxBlockIODevice)
	w := p.add(t.field, "io", "io.max", dev+" "+t.key+"="+rate)
	w.keyed, w.reset = true, dev+" "+t.key+"=max"
}

func device(d specs.LinuxBlockIODevice) string {
	return strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10)
}
