package rpc

import (
	"context"
	"net/netip"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// UpdateRuntimeConfig hears from the kubelet which addresses the node's pods may have: one CIDR, or one of each family
// with a comma between. Without a network configuration it says that what there is should be put in order: the firewall rules
// of pods that are missing come back.
func (s *runtimeService) UpdateRuntimeConfig(ctx context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	cidr := req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	if req.GetRuntimeConfig().GetNetworkConfig() == nil {
		return &runtimeapi.UpdateRuntimeConfigResponse{}, s.network.Repair(ctx)
	}
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
