package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// on answers for a host that has the controllers named, all of one version.
func on(v2 bool, controllers string) func(string) (bool, bool) {
	return func(c string) (bool, bool) {
		return v2, strings.Contains(" "+controllers+" ", " "+c+" ")
	}
}

var (
	allV1 = on(false, "cpu cpuacct cpuset memory pids devices freezer blkio hugetlb net_cls net_prio rdma")
	allV2 = on(true, "cpu cpuset memory pids io hugetlb rdma misc")
)

func spellWrites(writes []write) string {
	var b strings.Builder
	for _, w := range writes {
		b.WriteString(w.file + "=" + w.value)
		for _, flag := range []struct {
			set  bool
			name string
		}{{w.keyed, "keyed"}, {w.optional, "optional"}, {w.linked, "linked"}} {
			if flag.set {
				b.WriteString(" " + flag.name)
			}
		}
		if w.or != nil {
			b.WriteString(" or " + w.or.file + "=" + w.or.value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestIgnoredLimits(t *testing.T) {
	for _, r := range []*specs.LinuxResources{nil, {}, {Memory: &specs.LinuxMemory{}}, {Memory: kernelMemory(-1)}} {
		if got := Ignored(r); got != nil {
			t.Errorf("%+v: %q", r, got)
		}
	}
	if got := Ignored(&specs.LinuxResources{Memory: kernelMemory(1)}); len(got) != 1 || !strings.HasPrefix(got[0], "linux.resources.memory.kernel ") {
		t.Errorf("%q", got)
	}
}

func kernelMemory(n int64) *specs.LinuxMemory {
	//lint:ignore SA1019 specs may still have it
	return &specs.LinuxMemory{Kernel: &n}
}

func TestPlan(t *testing.T) {
	dev := specs.LinuxBlockIODevice{Major: 8, Minor: 0}
	for _, c := range []struct {
		name         string
		r            *specs.LinuxResources
		v1, v2       string
		errV1, errV2 error
	}{
		{name: "nothing"},
		{name: "zero is unset", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: new(uint64(0)), Quota: new(int64(0)), Period: new(uint64(0))}, Memory: &specs.LinuxMemory{Limit: new(int64(0)), Swap: new(int64(0))}}},
		{
			name: "cpu", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: new(uint64(1024)), Quota: new(int64(-1)), Period: new(uint64(100000)), Burst: new(uint64(5)), Cpus: "0-1,3", Mems: "0"}},
			v1: "cpuset.cpus=0-1,3\ncpuset.mems=0\ncpu.shares=1024\ncpu.cfs_period_us=100000 linked\ncpu.cfs_quota_us=-1 linked\ncpu.cfs_burst_us=5\n",
			v2: "cpuset.cpus=0-1,3\ncpuset.mems=0\ncpu.weight=100\ncpu.max=max 100000 linked\ncpu.max.burst=5\n",
		},
		{name: "quota alone", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(5000))}}, v1: "cpu.cfs_quota_us=5000\n", v2: "cpu.max=5000\n"},
		{name: "period alone keeps the quota", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Period: new(uint64(5000))}}, v1: "cpu.cfs_period_us=5000\n", v2: "cpu.max=777 5000\n"},
		{name: "idle has no shares", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: new(int64(1)), Shares: new(uint64(10))}}, v1: "cpu.idle=1\n", v2: "cpu.idle=1\n"},
		{name: "busy has", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: new(int64(0)), Shares: new(uint64(2))}}, v1: "cpu.idle=0 optional\ncpu.shares=2\n", v2: "cpu.idle=0 optional\ncpu.weight=1\n"},
		{name: "neither idle nor busy", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: new(int64(2))}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "burst above quota", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(1000)), Burst: new(uint64(1001))}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "realtime", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimePeriod: new(uint64(1000)), RealtimeRuntime: new(int64(50))}}, v1: "cpu.rt_period_us=1000 linked\ncpu.rt_runtime_us=50\n", errV2: errdefs.ErrNotSupported},
		{name: "bad set", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0\n1"}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "backward set", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: "3-1"}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{
			name: "memory", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(100)), Swap: new(int64(150)), Reservation: new(int64(50))}},
			v1: "memory.limit_in_bytes=100 linked\nmemory.memsw.limit_in_bytes=150\nmemory.soft_limit_in_bytes=50\n",
			v2: "memory.swap.max=50\nmemory.max=100\nmemory.low=50\n",
		},
		{
			name: "memory, lifted", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(-1))}},
			v1: "memory.limit_in_bytes=-1 linked\nmemory.memsw.limit_in_bytes=-1 optional\n", v2: "memory.swap.max=max optional\nmemory.max=max\n",
		},
		{
			name: "no swap", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(100)), Swap: new(int64(100))}},
			v1: "memory.limit_in_bytes=100 linked\nmemory.memsw.limit_in_bytes=100 optional\n", v2: "memory.swap.max=0 optional\nmemory.max=100\n",
		},
		{name: "swap below memory", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(100)), Swap: new(int64(99))}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "below -1", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(-2))}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "kernel memory", r: &specs.LinuxResources{Memory: kernelMemory(1 << 20)}},
		{name: "kernel memory below -1", r: &specs.LinuxResources{Memory: kernelMemory(-2)}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "kernel memory, none", r: &specs.LinuxResources{Memory: kernelMemory(-1)}},
		{name: "kernel TCP memory", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{KernelTCP: new(int64(1 << 20))}}, v1: "memory.kmem.tcp.limit_in_bytes=1048576\n", errV2: errdefs.ErrNotSupported},
		{name: "hierarchy", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{UseHierarchy: new(true)}}},
		{name: "no hierarchy", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{UseHierarchy: new(false)}}, errV1: errdefs.ErrNotSupported, errV2: errdefs.ErrNotSupported},
		{name: "swappiness", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: new(uint64(0))}}, v1: "memory.swappiness=0\n", errV2: errdefs.ErrNotSupported},
		{name: "much swappiness", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: new(uint64(101))}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "no OOM killer", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: new(true)}}, v1: "memory.oom_control=1\n", errV2: errdefs.ErrNotSupported},
		{name: "OOM killer", r: &specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: new(false)}}, v1: "memory.oom_control=0\n"},
		{name: "pids", r: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(10))}}, v1: "pids.max=10\n", v2: "pids.max=10\n"},
		{name: "pids, unlimited", r: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(-1))}}, v1: "pids.max=max\n", v2: "pids.max=max\n"},
		{name: "pids, none at all", r: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(0))}}, v1: "pids.max=1\n", v2: "pids.max=1\n"},
		{
			name: "huge pages", r: &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 0}, {Pagesize: "1GB", Limit: 1<<63 - 1}}},
			v1: "hugetlb.2MB.limit_in_bytes=0\nhugetlb.2MB.rsvd.limit_in_bytes=0 optional\nhugetlb.1GB.limit_in_bytes=-1\nhugetlb.1GB.rsvd.limit_in_bytes=-1 optional\n",
			v2: "hugetlb.2MB.max=0\nhugetlb.2MB.rsvd.max=0 optional\nhugetlb.1GB.max=max\nhugetlb.1GB.rsvd.max=max optional\n",
		},
		{name: "bad page size", r: &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../2MB"}}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{
			name: "block IO", r: &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(500)), ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: dev, Rate: 7}}, ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: dev}}}},
			v1: "blkio.bfq.weight=500 or blkio.weight=500\nblkio.throttle.read_bps_device=8:0 7 keyed\nblkio.throttle.write_iops_device=8:0 0 keyed\n",
			v2: "io.bfq.weight=default 500 keyed or io.weight=default 4950\nio.max=8:0 rbps=7 keyed\nio.max=8:0 wiops=max keyed\n",
		},
		{
			name: "weight of a device", r: &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LinuxBlockIODevice: dev, Weight: new(uint16(1000))}}}},
			v1: "blkio.bfq.weight_device=8:0 1000 keyed or blkio.weight_device=8:0 1000\n", v2: "io.bfq.weight=8:0 1000 keyed or io.weight=8:0 10000\n",
		},
		{name: "bad weight", r: &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(9))}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "no weight", r: &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LinuxBlockIODevice: dev}}}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "leaf weight", r: &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: new(uint16(10))}}, errV1: errdefs.ErrNotSupported, errV2: errdefs.ErrNotSupported},
		{name: "unified", r: &specs.LinuxResources{Unified: map[string]string{"memory.oom.group": "1", "memory.high": "9"}}, errV1: errdefs.ErrNotSupported, v2: "memory.high=9\nmemory.oom.group=1\n"},
		{name: "unified table", r: &specs.LinuxResources{Unified: map[string]string{"io.max": "259:0 rbps=2 wiops=1\n253:0 rbps=2\n"}}, errV1: errdefs.ErrNotSupported, v2: "io.max=259:0 rbps=2 wiops=1 keyed\nio.max=253:0 rbps=2 keyed\n"},
		{name: "unified, out", r: &specs.LinuxResources{Unified: map[string]string{"memory.x/../../x": "1"}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "unified, core", r: &specs.LinuxResources{Unified: map[string]string{"cgroup.kill": "1"}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
		{name: "unified, unknown controller", r: &specs.LinuxResources{Unified: map[string]string{"bogus.max": "1"}}, errV1: errdefs.ErrNotSupported, errV2: errdefs.ErrNotSupported},
		{name: "network", r: &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: new(uint32(7)), Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 3}}}}, v1: "net_cls.classid=7\nnet_prio.ifpriomap=lo 3 keyed\n", errV2: errdefs.ErrNotSupported},
		{name: "RDMA", r: &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx": {HcaHandles: new(uint32(3))}}}, v1: "rdma.max=mlx hca_handle=3 keyed\n", v2: "rdma.max=mlx hca_handle=3 keyed\n"},
		{name: "RDMA, empty", r: &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx": {}}}, errV1: errdefs.ErrInvalid, errV2: errdefs.ErrInvalid},
	} {
		for _, side := range []struct {
			name string
			on   func(string) (bool, bool)
			want string
			kind error
		}{{"v1", allV1, c.v1, c.errV1}, {"v2", allV2, c.v2, c.errV2}} {
			t.Run(c.name+" on "+side.name, func(t *testing.T) {
				writes, err := plan(planner{v2: side.on, now: present{quota: "777"}}, c.r)
				if !errors.Is(err, side.kind) || (side.kind == nil && err != nil) {
					t.Fatalf("error %v, want %v", err, side.kind)
				}
				if err != nil {
					if !strings.HasPrefix(err.Error(), "linux.resources.") {
						t.Errorf("the error %q does not begin with the field", err)
					}
					return
				}
				if diff := cmp.Diff(side.want, spellWrites(writes)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestPlanNeedsControllers(t *testing.T) {
	for name, r := range map[string]*specs.LinuxResources{
		"cpu":     {CPU: &specs.LinuxCPU{Shares: new(uint64(5))}},
		"cpuset":  {CPU: &specs.LinuxCPU{Cpus: "0"}},
		"memory":  {Memory: &specs.LinuxMemory{Limit: new(int64(1))}},
		"pids":    {Pids: &specs.LinuxPids{Limit: new(int64(1))}},
		"hugetlb": {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB"}}},
	} {
		_, err := plan(planner{v2: on(false, ""), now: fresh}, r)
		if !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestWeightOfShares(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 3: 2, 512: 59, 1024: 100, 2048: 174, 262144: 10000, 1 << 40: 10000} {
		if got := weightOfShares(shares); got != want {
			t.Errorf("weight of %d shares = %d, want %d", shares, got, want)
		}
	}
	for s, last := uint64(2), uint64(0); s <= 262144; s++ {
		w := weightOfShares(s)
		if w < last || w < 1 || w > 10000 {
			t.Fatalf("weight of %d shares = %d after %d", s, w, last)
		}
		last = w
	}
}

func TestPlanDevices(t *testing.T) {
	deny := specs.LinuxDeviceCgroup{Access: "rwm"}
	const defaults = "b *:* m\nc *:* m\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:1 rwm\nc 5:2 rwm\nc 136:* rwm\n"
	for _, c := range []struct {
		name  string
		rules []specs.LinuxDeviceCgroup
		allow bool
		want  string
		kind  error // of v1's form
	}{
		{name: "deny all", rules: []specs.LinuxDeviceCgroup{deny}, want: defaults},
		{name: "privileged", rules: []specs.LinuxDeviceCgroup{deny, {Allow: true, Access: "rwm", Type: "a"}}, allow: true},
		{name: "one more", rules: []specs.LinuxDeviceCgroup{deny, {Allow: true, Type: "c", Major: new(int64(10)), Minor: new(int64(229)), Access: "rw"}}, want: strings.Replace(defaults, "c 136", "c 10:229 rw\nc 136", 1)},
		{name: "taken back", rules: []specs.LinuxDeviceCgroup{deny, {Allow: true, Type: "c", Major: new(int64(10)), Minor: new(int64(229)), Access: "rw"}, {Type: "c", Major: new(int64(10)), Access: "w"}}, want: strings.Replace(defaults, "c 136", "c 10:229 r\nc 136", 1)},
		{name: "all but one", rules: []specs.LinuxDeviceCgroup{{Allow: true}, {Type: "b", Major: new(int64(8)), Minor: new(int64(-1)), Access: "rwm"}}, allow: true, want: "b 8:* rw\n"},
		{name: "part of a wider one", rules: []specs.LinuxDeviceCgroup{deny, {Allow: true, Type: "c", Major: new(int64(10)), Access: "rw"}, {Type: "c", Major: new(int64(10)), Minor: new(int64(1)), Access: "w"}}, kind: errdefs.ErrNotSupported},
		{name: "bad type", rules: []specs.LinuxDeviceCgroup{{Type: "x"}}, kind: errdefs.ErrInvalid},
		{name: "bad access", rules: []specs.LinuxDeviceCgroup{{Type: "c", Access: "rwx"}}, kind: errdefs.ErrInvalid},
		{name: "bad number", rules: []specs.LinuxDeviceCgroup{{Type: "c", Major: new(int64(1 << 33))}}, kind: errdefs.ErrInvalid},
		{name: "too many", rules: make([]specs.LinuxDeviceCgroup, maxDeviceRules+1), kind: errdefs.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l *deviceList
			rules, err := planDevices(c.rules)
			if err == nil {
				l, err = rules.fold()
			}
			if !errors.Is(err, c.kind) || (c.kind == nil && err != nil) {
				t.Fatalf("error %v, want %v", err, c.kind)
			}
			if err != nil {
				return
			}
			got := strings.Join(append(l.lines(&deviceList{}), ""), "\n")
			if l.allow != c.allow || got != c.want {
				t.Errorf("default %t, exceptions\n%s", l.allow, got)
			}
			again, err := parseDeviceList([]byte(got))
			must(t, err)
			if diff := cmp.Diff(l.lines(again), again.lines(l)); diff != "" {
				t.Errorf("read back: %s", diff)
			}
		})
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte("31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n32 31 0:29 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu,cpuacct\n41 31 0:38 / /a\\040b ro - cgroup2 cgroup2 rw\n"))
	f.Add([]byte("1 2 3 - cgroup"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mounts, err := parseMountinfo(bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(mounts) > bytes.Count(data, []byte(" - cgroup")) {
			t.Fatalf("%d mounts", len(mounts))
		}
	})
}

func TestParseMountinfo(t *testing.T) {
	const table = `23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/a\040b ro,relatime - cgroup2 cgroup2 rw,nsdelegate
`
	got, err := parseMountinfo(strings.NewReader(table))
	must(t, err)
	want := "[{/sys/fs/cgroup/cpu,cpuacct false false [rw cpu cpuacct]} {/sys/fs/cgroup/systemd false false [rw xattr name=systemd]} {/sys/fs/cgroup/a b true true [rw nsdelegate]}]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v", got)
	}
}

// FuzzFiles feeds every parser of control files.
func FuzzFiles(f *testing.F) {
	f.Add([]byte("some avg10=0.12 avg60=0.00 avg300=0.00 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"))
	f.Add([]byte("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:0 Read 4096\n8:0 Write 1\nTotal 9\n"))
	f.Add([]byte("12\n13\n0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parseFlat(data)
		if n := len(parseIOStatV2(data)) + len(parseIOStatV1(nil, data, true)); n > 2*bytes.Count(data, []byte("\n"))+2 {
			t.Fatalf("%d devices", n)
		}
		if p, err := parsePressure(data); (p == nil) == (err == nil) {
			t.Fatal("neither a value nor an error")
		}
		if pids, err := parsePIDs(data); err == nil {
			for _, p := range pids {
				if p <= 0 {
					t.Fatalf("process number %d", p)
				}
			}
		}
		if _, err := parseUsageAll(data); err == nil && bytes.Contains(data, []byte("-1 -1 -1")) {
			t.Fatal("negative times")
		}
		parseRDMA(data)
		if l, err := parseDeviceList(data); err == nil {
			again, err := parseDeviceList([]byte(strings.Join(l.lines(&deviceList{}), "\n")))
			if err != nil || len(again.lines(l))+len(l.lines(again)) > 0 {
				t.Fatalf("%q does not survive being written: %v", data, err)
			}
		}
		line := tableLine(string(data), write{value: "8:0 5", reset: "8:0 0"})
		if !strings.HasPrefix(line, "8:0 ") {
			t.Fatalf("line %q", line)
		}
	})
}

// FuzzWords feeds what reads single values and names.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"0-3,7", "65535", "1-0", "4G", "max", "-1", "/a/b", "a:b:c", "8:0 rbps=5", "2MB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if mask, ok := parseSet(s); ok && (len(mask) == 0 || len(mask) > 8192 || mask[len(mask)-1] == 0) {
			t.Fatalf("%q is a mask of %d bytes", s, len(mask))
		}
		if n, ok := parseBytes(s); ok && n == 0 && strings.Trim(s, " \t\n\v\f\r0xbokmgtpeKMGTPEBXO\u0085\u00a0") != "" && strings.TrimSpace(s) == s {
			t.Fatalf("%q is 0", s)
		}
		if checkPath(s) == nil && (s[0] != '/' || strings.Contains(s, "..") && strings.Contains(s, "/../")) {
			t.Fatalf("%q is a path", s)
		}
		if validPageSize(s) && strings.ContainsAny(s, "/. \n") {
			t.Fatalf("%q is a page size", s)
		}
		if reset := resetLine(s); len(strings.Fields(reset)) != len(strings.Fields(s)) {
			t.Fatalf("%q is reset by %q", s, reset)
		}
	})
}

func TestParsers(t *testing.T) {
	p, err := parsePressure([]byte("some avg10=1.50 avg60=2.00 avg300=0.25 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"))
	must(t, err)
	if diff := cmp.Diff(&Pressure{Some: PressureLine{1.5, 2, 0.25, 99}, Full: PressureLine{Total: 7}}, p); diff != "" {
		t.Error(diff)
	}
	io := parseIOStatV1(parseIOStatV1(nil, []byte("8:0 Read 10\n8:0 Write 20\n8:0 Sync 1\n8:0 Total 30\nTotal 30\n"), true), []byte("8:0 Read 1\n8:16 Write 2\n"), false)
	if diff := cmp.Diff([]IOStats{{Major: 8, ReadBytes: 10, WriteBytes: 20, ReadOps: 1}, {Major: 8, Minor: 16, WriteOps: 2}}, io); diff != "" {
		t.Error(diff)
	}
	io = parseIOStatV2([]byte("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:1 \n"))
	if diff := cmp.Diff([]IOStats{{8, 0, 1, 2, 3, 4, 5, 6}}, io); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string]string{"8:0 7": "8:0 5", "8:1 7": "8:1 default", "8:1 rbps=5 wbps=7": "8:1 rbps=max wbps=max", "8:1 target=9": "8:1 target=0", "default 7": "default 100"} {
		if got := tableLine("default 100\n8:0 5\n", write{value: in, reset: resetLine(in)}); got != want {
			t.Errorf("restoring %q writes %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]uint64{"max": noLimit, "4096\n": 4096, "1k": 1 << 10, "3G": 3 << 30, "0x10": 16, "0": 0, "1E": 1 << 60} {
		if got, ok := parseBytes(in); !ok || got != want {
			t.Errorf("%q is %d, %t", in, got, ok)
		}
	}
	for _, in := range []string{"", "-1", "k", "1kk", "1_0", "99E", "1.5G"} {
		if got, ok := parseBytes(in); ok {
			t.Errorf("%q is %d", in, got)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for path, ok := range map[string]bool{"/a": true, "/a/b.slice": true, "": false, "/": false, "a": false, "/a/": false, "/a//b": false, "/a/../b": false, "/..": false, "/a\nb": false, "/a\x00": false, "system.slice:cri:x": false, "/" + strings.Repeat("x", 5000): false} {
		if err := checkPath(path); (err == nil) != ok || (err != nil && !errors.Is(err, errdefs.ErrInvalid)) {
			t.Errorf("checkPath(%.40q) = %v", path, err)
		}
	}
}
