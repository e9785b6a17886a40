package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// addressesAvailable is a condition besides those of the CRI: the kubelet ignores it, so a node whose addresses are used up stays ready.
const addressesAvailable = "AddressesAvailable"

// Status tells whether pods can run and be connected, and which features berth has.
func (s *runtimeService) Status(ctx context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	problem, full := s.network.Status(ctx)
	resp := &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			condition(runtimeapi.RuntimeReady, "KeeperNotReady", s.healthy()),
			condition(runtimeapi.NetworkReady, "NetworkPluginNotReady", problem),
			condition(addressesAvailable, "AddressesExhausted", full),
		}},
		RuntimeHandlers: []*runtimeapi.RuntimeHandler{{
			Name:     "",
			Features: &runtimeapi.RuntimeHandlerFeatures{RecursiveReadOnlyMounts: true, UserNamespaces: s.pods.UserNamespaces() == nil},
		}},
		Features: &runtimeapi.RuntimeFeatures{SupplementalGroupsPolicy: true, MountOptions: true},
	}
	if !req.GetVerbose() {
		return resp, nil
	}
	info, err := s.info(ctx)
	if err != nil {
		return nil, err
	}
	resp.Info = info
	return resp, nil
}

func condition(name, reason string, err error) *runtimeapi.RuntimeCondition {
	c := &runtimeapi.RuntimeCondition{Type: name, Status: err == nil}
	if err != nil {
		c.Reason, c.Message = reason, err.Error()
	}
	return c
}
