package main

import (
	"context"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// container finds the one container that a person means: by whole ID, by name, or by the beginning of its ID.
func (n *node) container(ctx context.Context, ref string) (*cri.Container, error) {
	list, err := n.runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return nil, stage(err, "find container %s", ref)
	}
	return choose(list.GetContainers(), ref)
}

func choose(list []*cri.Container, ref string) (*cri.Container, error) {
	if ref == "" {
		return nil, errdefs.Invalid("find a container: its name is empty")
	}
	for _, matches := range []func(*cri.Container) bool{
		func(c *cri.Container) bool { return c.GetId() == ref },
		func(c *cri.Container) bool { return nameOf(c.GetLabels(), c.GetMetadata()) == ref },
		func(c *cri.Container) bool { return strings.HasPrefix(c.GetId(), ref) },
	} {
		var found []*cri.Container
		for _, c := range list {
			if matches(c) {
				found = append(found, c)
			}
		}
		switch len(found) {
		case 0:
			continue
		case 1:
			return found[0], nil
		}
		return nil, errdefs.Invalid("find container %s: %d containers match, %s and %s among them; give more of the ID", ref,
			len(found), short(found[0].GetId()), short(found[1].GetId()))
	}
	return nil, errdefs.NotFound("find container %s: there is none; see berth ps -a", ref)
}

// status asks for a container's status.
func (n *node) status(ctx context.Context, id string) (*cri.ContainerStatus, error) {
	resp, err := n.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, stage(err, "ask for the status of container %s", short(id))
	}
	return resp.GetStatus(), nil
}

func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
