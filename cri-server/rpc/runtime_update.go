package rpc

import (
	"context"
	"net/netip"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// UpdateRuntimeConfig hears from the kubelet which addresses the node's pods may have: one CIDR, or one of each family
// with a comma between.
func (s *runtimeService) UpdateRuntimeConfig(ctx context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	cidr := req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	if cidr == "" {
		return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
	}
	var d decoder
	d.line("runtime_config.network_config.pod_cidr", cidr, maxName)
	for one := range strings.SplitSeq(cidr, ",") {
		if _, err := netip.ParsePrefix(one); err != nil {
			d.fail("runtime_config.network_config.pod_cidr", "%.64q is not a CIDR", one)
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	if err := s.network.SetPodCIDR(ctx, cidr); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
}
