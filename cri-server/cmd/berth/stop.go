package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func (a *app) stopCommand() *cobra.Command {
	var seconds int64
	cmd := &cobra.Command{
		Use:   "stop [-t SECONDS] CONTAINER...",
		Short: "Ask containers to end, and kill those that do not",
		Args:  arguments(1, unlimited),
		RunE: a.action(func(cmd *cobra.Command, n *node, args []string) error {
			return each(args, func(ref string) error {
				if err := n.stop(cmd.Context(), ref, seconds); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.out, ref)
				return err
			})
		}),
	}
	cmd.Flags().Int64VarP(&seconds, "time", "t", patience, "`seconds` before they are killed")
	return cmd
}

// stop stops a container, and the pod of one that is alone in it: its addresses and ports are free then.
func (n *node) stop(ctx context.Context, ref string, seconds int64) error {
	c, err := n.container(ctx, ref)
	if err != nil {
		return err
	}
	if _, err := n.runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c.GetId(), Timeout: seconds}); err != nil {
		return stage(err, "stop container %s", ref)
	}
	if !isOwn(c.GetLabels()) {
		return nil
	}
	_, err = n.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: c.GetPodSandboxId()})
	return stage(err, "stop the pod of container %s", ref)
}

func (a *app) rmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm [-f] CONTAINER...",
		Short: "Remove containers, and with -f running ones too",
		Args:  arguments(1, unlimited),
		RunE: a.action(func(cmd *cobra.Command, n *node, args []string) error {
			return each(args, func(ref string) error {
				if err := n.remove(cmd.Context(), ref, force); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.out, ref)
				return err
			})
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill it first if it runs")
	return cmd
}

// remove removes a container, and the pod and log of one that berth run made.
func (n *node) remove(ctx context.Context, ref string, force bool) error {
	c, err := n.container(ctx, ref)
	if errors.Is(err, errdefs.ErrNotFound) {
		return n.removeEmpty(ctx, ref)
	}
	if err != nil {
		return err
	}
	if c.GetState() == cri.ContainerState_CONTAINER_RUNNING && !force {
		return errdefs.FailedPrecondition("remove container %s: it runs; stop it first, or use rm -f", ref)
	}
	if !isOwn(c.GetLabels()) {
		_, err := n.runtime.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: c.GetId()})
		return stage(err, "remove container %s", ref)
	}
	status, err := n.status(ctx, c.GetId())
	if err != nil {
		return err
	}
	return n.discard(ctx, c.GetPodSandboxId(), ownLogs(status.GetLogPath(), c.GetLabels()))
}

// removeEmpty removes a pod of berth run that has no container.
func (n *node) removeEmpty(ctx context.Context, ref string) error {
	p, err := n.emptyPod(ctx, ref)
	if err != nil {
		return err
	}
	_, err = n.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.GetId()})
	if err != nil {
		return stage(err, "remove the pod %s", ref)
	}
	logs, err := n.logFolder(ctx, p.GetLabels()[labelName]+"_"+p.GetLabels()[labelPodUID])
	if err != nil {
		return err
	}
	if err := os.RemoveAll(logs); err != nil {
		return fmt.Errorf("remove the log: %w", err)
	}
	return nil
}

// ownLogs is the folder that run made for a container's log: only one of that name is ever removed.
func ownLogs(logPath string, labels map[string]string) string {
	folder := filepath.Dir(logPath)
	if filepath.Base(folder) != labels[labelName]+"_"+labels[labelPodUID] {
		return ""
	}
	return folder
}
