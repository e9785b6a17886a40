package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (a *app) psCommand() *cobra.Command {
	var all, quiet, full bool
	cmd := &cobra.Command{
		Use:   "ps [-a] [-q]",
		Short: "List containers, those of other clients too",
		Args:  arguments(0, 0),
		RunE: a.action(func(cmd *cobra.Command, n *node, _ []string) error {
			list, err := n.list(cmd.Context(), all)
			if err != nil {
				return err
			}
			t := newTable(a.out, quiet, "CONTAINER ID", "IMAGE", "CREATED", "STATUS", "PORTS", "NAMES")
			now := time.Now()
			for _, c := range list {
				id := c.GetId()
				if !full {
					id = short(id)
				}
				status, err := n.statusText(cmd.Context(), c, now)
				if err != nil {
					return err
				}
				t.row(id, id, imageText(c), ago(now.Sub(time.Unix(0, c.GetCreatedAt())))+" ago", status,
					c.GetAnnotations()[annotationPorts], nameOf(c.GetLabels(), c.GetMetadata()))
			}
			if all {
				if err := n.listEmptyPods(cmd.Context(), t, full, now); err != nil {
					return err
				}
			}
			return t.flush()
		}),
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that do not run, too")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "only IDs")
	cmd.Flags().BoolVar(&full, "no-trunc", false, "whole IDs")
	return cmd
}

// listEmptyPods shows pods of berth run that a run has left without a container, so that they can be removed.
func (n *node) listEmptyPods(ctx context.Context, t *table, full bool, now time.Time) error {
	pods, err := n.emptyPods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		id := p.GetId()
		if !full {
			id = short(id)
		}
		t.row(id, id, "<none>", ago(now.Sub(time.Unix(0, p.GetCreatedAt())))+" ago", "Pod without a container",
			p.GetAnnotations()[annotationPorts], p.GetLabels()[labelName])
	}
	return nil
}

// list returns containers, the newest first.
func (n *node) list(ctx context.Context, all bool) ([]*cri.Container, error) {
	var filter *cri.ContainerFilter
	if !all {
		filter = &cri.ContainerFilter{State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}}
	}
	resp, err := n.runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: filter})
	if err != nil {
		return nil, stage(err, "list containers")
	}
	list := resp.GetContainers()
	slices.SortStableFunc(list, func(a, b *cri.Container) int { return int(min(max(b.GetCreatedAt()-a.GetCreatedAt(), -1), 1)) })
	return list, nil
}

func imageText(c *cri.Container) string {
	if name := c.GetImage().GetImage(); !strings.HasPrefix(name, "sha256:") {
		return name
	}
	return short(c.GetImage().GetImage())
}

// statusText is a state with its time. When a container started or ended only its status says.
func (n *node) statusText(ctx context.Context, c *cri.Container, now time.Time) (string, error) {
	if c.GetState() == cri.ContainerState_CONTAINER_CREATED {
		return "Created", nil
	}
	s, err := n.status(ctx, c.GetId())
	if isNotFound(err) {
		return "Removed", nil // meanwhile
	}
	if err != nil {
		return "", err
	}
	switch s.GetState() {
	case cri.ContainerState_CONTAINER_RUNNING:
		return "Up " + ago(now.Sub(time.Unix(0, s.GetStartedAt()))), nil
	case cri.ContainerState_CONTAINER_EXITED:
		text := fmt.Sprintf("Exited (%d) %s ago", s.GetExitCode(), ago(now.Sub(time.Unix(0, s.GetFinishedAt()))))
		if s.GetReason() == reasonOOM {
			text += ", memory limit reached"
		}
		return text, nil
	default:
		return "Unknown", nil
	}
}
