package stats

import "time"

// Container is one measurement of a container, or of a whole pod. Counters count since the container was made.
type Container struct {
	At         time.Time
	CPU        CPU
	Memory     Memory
	IO         IO
	Pids       Pids
	Hugetlb    []Hugetlb
	OOMKills   uint64
	Filesystem *Filesystem // the writable layer; nil for a pod, or when it is not known yet
}

// CPU is in nanoseconds of one core unless the name says otherwise.
type CPU struct {
	Usage, User, System uint64
	NanoCores           *uint64 // rate over the last sample window; nil before there are two samples
	Periods             uint64  // enforcement periods that passed
	ThrottledPeriods    uint64
	ThrottledTime       uint64
	PSI                 *PSI
}

// Memory is in bytes.
type Memory struct {
	Usage       uint64
	WorkingSet  uint64 // usage without the inactive page cache: what the kubelet evicts by
	Limit       uint64 // 0: none
	MaxUsage    uint64
	Anon        uint64 // "rss" of CRI
	Cache       uint64
	MappedFile  uint64
	Kernel      uint64
	Failures    uint64 // times that the limit was hit
	PageFaults  uint64
	MajorFaults uint64
	Swap        uint64
	SwapLimit   uint64 // 0: none
	PSI         *PSI
}

// IO is what went to and came from block devices.
type IO struct {
	Devices []DeviceIO
	PSI     *PSI
}

// DeviceIO counts one block device.
type DeviceIO struct {
	Major, Minor          uint64
	ReadBytes, WriteBytes uint64
	ReadOps, WriteOps     uint64
}

// Pids counts tasks. Limit 0 means none.
type Pids struct{ Current, Limit uint64 }

// Hugetlb is one huge page size ("2MB") in bytes.
type Hugetlb struct {
	PageSize        string
	Usage, MaxUsage uint64
}

// PSI is pressure stall information: "some" tasks waited, or all ("full").
type PSI struct{ Some, Full Pressure }

// Pressure has the totals in nanoseconds and the averages in percent.
type Pressure struct {
	Total                uint64
	Avg10, Avg60, Avg300 float64
}

// Filesystem is the use of a writable layer.
type Filesystem struct {
	At         time.Time
	Bytes      uint64
	Inodes     uint64
	Mountpoint string // a folder of the filesystem that holds the layer
}

// Network is the counters of one interface of a pod.
type Network struct {
	Name                                    string
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// Pod is one measurement of a pod: the sum in its cgroup, its interfaces (the default one first) and its containers.
type Pod struct {
	ID         string
	Total      Container
	NetworkAt  time.Time
	Interfaces []Network
}
