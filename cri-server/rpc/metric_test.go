package rpc

import (
	"testing"
	"time"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/cri-server/stats"
)

// TestMetricsFitTheirDescriptors checks what the kubelet relies on: unique names with help, and as many values as keys.
func TestMetricsFitTheirDescriptors(t *testing.T) {
	resp, err := (&runtimeService{}).ListMetricDescriptors(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]int{}
	for _, d := range resp.GetDescriptors() {
		if _, twice := keys[d.GetName()]; twice || d.GetHelp() == "" || len(d.GetLabelKeys()) == 0 {
			t.Errorf("%v", d)
		}
		keys[d.GetName()] = len(d.GetLabelKeys())
	}
	psi := &stats.PSI{Some: stats.Pressure{Total: 2e9}, Full: stats.Pressure{Total: 1e9}}
	group := stats.Container{
		At: time.Unix(100, 0), CPU: stats.CPU{Usage: 3_500_000_000, PSI: psi}, Memory: stats.Memory{Usage: 7, PSI: psi}, IO: stats.IO{
			PSI: psi, Devices: []stats.DeviceIO{{Major: 8, Minor: 1, ReadBytes: 9}},
		}, Hugetlb: []stats.Hugetlb{{PageSize: "2MB"}}, Filesystem: &stats.Filesystem{Bytes: 11, Mountpoint: "/r"},
	}
	got := encodeMetrics(pod.PodStats{
		Status: pod.PodStatus{ID: "p", Config: spec.PodConfig{Name: "n", Namespace: "ns"}, Cgroup: "/g"},
		Stats:  stats.Pod{Total: group, Interfaces: []stats.Network{{Name: "eth0", RxBytes: 5}}},
		Containers: []pod.ContainerStats{{
			Status: pod.ContainerStatus{ID: "c", StartedAt: time.Unix(50, 0), Config: spec.ContainerConfig{
				Name: "web", Image: "i", Resources: &spec.Resources{CPUQuota: -1, Memory: 64},
			}},
			Stats: group,
		}},
	})
	values, seen := map[string]uint64{}, map[string]bool{}
	for _, m := range append(got.GetMetrics(), got.GetContainerMetrics()[0].GetMetrics()...) {
		if len(m.GetLabelValues()) != keys[m.GetName()] {
			t.Errorf("%s: values %q for %d keys", m.GetName(), m.GetLabelValues(), keys[m.GetName()])
		}
		seen[m.GetName()] = true
		values[m.GetLabelValues()[0]+" "+m.GetName()] = m.GetValue().GetValue()
	}
	for name := range keys {
		if !seen[name] {
			t.Errorf("%s is described and never measured", name)
		}
	}
	for name, want := range map[string]uint64{
		" container_cpu_usage_seconds_total": 3, "web container_memory_usage_bytes": 7, "web container_fs_reads_bytes_total": 9,
		" container_network_receive_bytes_total": 5, "web container_spec_cpu_quota": 0, "web container_spec_memory_limit_bytes": 64,
		"web container_pressure_io_waiting_seconds_total": 2, "web container_pressure_io_stalled_seconds_total": 1, "web container_fs_usage_bytes": 11,
		"web container_start_time_seconds": 50, "web container_last_seen": 100,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s: got %d, %v; want %d", name, got, ok, want)
		}
	}
}
