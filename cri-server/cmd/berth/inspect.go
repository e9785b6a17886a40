package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect CONTAINER",
		Short: "Print all that is known of a container and its pod, as JSON",
		Args:  arguments(1, 1),
		RunE: a.action(func(cmd *cobra.Command, n *node, args []string) error {
			ctx := cmd.Context()
			c, err := n.container(ctx, args[0])
			if err != nil {
				return err
			}
			container, err := n.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: c.GetId(), Verbose: true})
			if err != nil {
				return stage(err, "inspect container %s", args[0])
			}
			pod, err := n.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: c.GetPodSandboxId(), Verbose: true})
			if err != nil {
				return stage(err, "inspect the pod of container %s", args[0])
			}
			return a.printJSON(map[string]part{
				"container": {container.GetStatus(), container.GetInfo()},
				"pod":       {pod.GetStatus(), pod.GetInfo()},
			})
		}),
	}
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Print the node's status and configuration, as JSON",
		Args:  arguments(0, 0),
		RunE: a.action(func(cmd *cobra.Command, n *node, _ []string) error {
			resp, err := n.runtime.Status(cmd.Context(), &cri.StatusRequest{Verbose: true})
			if err != nil {
				return stage(err, "ask for the node's status")
			}
			return a.printJSON(map[string]part{"node": {resp.GetStatus(), resp.GetInfo()}})
		}),
	}
}

// part is a message of CRI with the JSON documents that go with it.
type part struct {
	message proto.Message
	info    map[string]string
}

func (a *app) printJSON(parts map[string]part) error {
	out := map[string]map[string]json.RawMessage{}
	for name, p := range parts {
		status, err := protojson.Marshal(p.message)
		if err != nil {
			return fmt.Errorf("render %s: %w", name, err)
		}
		out[name] = map[string]json.RawMessage{"status": status}
		for key, document := range p.info {
			if json.Valid([]byte(document)) {
				out[name][key] = json.RawMessage(document)
			}
		}
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return fmt.Errorf("render: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "%s\n", data)
	return err
}
