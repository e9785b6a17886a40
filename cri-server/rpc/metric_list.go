package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
)

// ListMetricDescriptors names the metrics of ListPodSandboxMetrics: those that cAdvisor has under the same names, as far
// as they can be had. The list never changes while berthd runs.
func (s *runtimeService) ListMetricDescriptors(context.Context, *runtimeapi.ListMetricDescriptorsRequest) (*runtimeapi.ListMetricDescriptorsResponse, error) {
	resp := &runtimeapi.ListMetricDescriptorsResponse{}
	for _, m := range slices.Concat(groupMetrics(), containerMetrics(), podMetrics()) {
		resp.Descriptors = append(resp.Descriptors, &runtimeapi.MetricDescriptor{
			Name: m.name, Help: m.help, LabelKeys: slices.Concat(commonLabels(), m.labels),
		})
	}
	return resp, nil
}

// ListPodSandboxMetrics measures all pods.
func (s *runtimeService) ListPodSandboxMetrics(ctx context.Context, _ *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	items, err := s.listMetrics(ctx)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ListPodSandboxMetricsResponse{PodMetrics: items}, nil
}

// StreamPodSandboxMetrics is ListPodSandboxMetrics without a limit of size.
func (s *runtimeService) StreamPodSandboxMetrics(_ *runtimeapi.StreamPodSandboxMetricsRequest, out grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxMetricsResponse]) error {
	items, err := s.listMetrics(out.Context())
	if err != nil {
		return err
	}
	return sendChunks(items, func(part []*runtimeapi.PodSandboxMetrics) error {
		return out.Send(&runtimeapi.StreamPodSandboxMetricsResponse{PodSandboxMetrics: part})
	})
}

func (s *runtimeService) listMetrics(ctx context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	list, err := s.pods.ListPodStats(ctx, pod.PodFilter{})
	if err != nil {
		return nil, err
	}
	var items []*runtimeapi.PodSandboxMetrics
	for _, p := range list {
		items = append(items, encodeMetrics(p))
	}
	return items, nil
}

// encodeMetrics renders a pod: its cgroup as a whole under an empty container name, its network, and its containers.
func encodeMetrics(p pod.PodStats) *runtimeapi.PodSandboxMetrics {
	whole := measured{
		at: nanos(p.Stats.Total.At), stats: p.Stats.Total, resources: p.Status.Config.Resources, startedAt: p.Status.CreatedAt,
		labels: []string{"", p.Status.Cgroup, "", p.Status.ID, p.Status.Config.Namespace, p.Status.Config.Name}, interfaces: p.Stats.Interfaces,
	}
	out := &runtimeapi.PodSandboxMetrics{
		PodSandboxId: p.Status.ID,
		Metrics:      append(render(groupMetrics(), whole), render(podMetrics(), whole)...),
	}
	for _, c := range p.Containers {
		one := measured{
			at: nanos(c.Stats.At), stats: c.Stats, resources: c.Status.Config.Resources, startedAt: c.Status.StartedAt,
			labels: []string{
				c.Status.Config.Name, p.Status.Cgroup + "/" + c.Status.ID, encodeImageSpec(c.Status.Config).GetImage(), c.Status.ID,
				p.Status.Config.Namespace, p.Status.Config.Name,
			},
		}
		out.ContainerMetrics = append(out.ContainerMetrics, &runtimeapi.ContainerMetrics{
			ContainerId: c.Status.ID,
			Metrics:     append(render(groupMetrics(), one), render(containerMetrics(), one)...),
		})
	}
	return out
}

func render(table []metric, m measured) []*runtimeapi.Metric {
	var out []*runtimeapi.Metric
	for _, one := range table {
		for _, s := range one.read(m) {
			out = append(out, &runtimeapi.Metric{
				Name: one.name, Timestamp: m.at, MetricType: one.kind, LabelValues: slices.Concat(m.labels, s.labels), Value: value(s.value),
			})
		}
	}
	return out
}
