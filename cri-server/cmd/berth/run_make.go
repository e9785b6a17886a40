package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/exitcode"
	"github.com/berth-runtime/berth/internal/sys"
)

// undoTime bounds what is done about a run that failed or was given up.
const undoTime = time.Minute

// made is a container of run, with the pod made for it.
type made struct {
	id, podID, logs string
	stream          string // address of its streams; empty when detached
}

// make makes and starts what is asked for. On error nothing of it is left.
func (n *node) make(ctx context.Context, o *runOptions, req request) (_ *made, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	logs := req.pod.GetLogDirectory()
	if err := os.MkdirAll(logs, 0o750); err != nil {
		return nil, fmt.Errorf("make the folder for the log: %w", err)
	}
	cu.Add(func() error { return os.RemoveAll(logs) })
	if o.remove && !o.detach {
		if err := hold(logs); err != nil {
			return nil, err
		}
	}
	cu.Add(func() error { return n.removePods(ctx, req.pod) })
	pod, err := n.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: req.pod})
	if err != nil {
		return nil, stage(err, "make the pod")
	}
	container, err := n.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: pod.GetPodSandboxId(), Config: req.container, SandboxConfig: req.pod,
	})
	if err != nil {
		return nil, stage(err, "make the container")
	}
	m := &made{id: container.GetContainerId(), podID: pod.GetPodSandboxId(), logs: logs}
	if !o.detach { // before the start, so that nothing is missed
		resp, err := n.runtime.Attach(ctx, &cri.AttachRequest{
			ContainerId: m.id, Tty: o.tty, Stdin: o.interactive, Stdout: true, Stderr: !o.tty,
		})
		if err != nil {
			return nil, stage(err, "attach to the container")
		}
		m.stream = resp.GetUrl()
	}
	if _, err := n.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: m.id}); err != nil {
		return nil, n.whyNotStarted(ctx, m.id, stage(err, "start the container"))
	}
	cu.Release()
	return m, nil
}

// holdName is a FIFO in the log folder of a run --rm in the foreground. This process has it open for writing for as long
// as it lives; only then does berthd remove the pod (package autoremove).
const holdName = "client"

func hold(logs string) error {
	path := filepath.Join(logs, holdName)
	if err := sys.Mkfifo(path, uint32(os.Geteuid()), uint32(os.Getegid())); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if _, err := sys.RawOpen(path, syscall.O_RDWR|syscall.O_NONBLOCK); err != nil { // closed with the process, however that ends
		return fmt.Errorf("open %s: %w", path, err)
	}
	return nil
}

// removePods removes the pod that was asked for, if there is one. When the request for it was given up, berthd goes on to
// make it: the same request then joins that attempt and returns with it.
func (n *node) removePods(ctx context.Context, config *cri.PodSandboxConfig) error {
	givenUp := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if givenUp {
		// Its error is of no interest: what failed has been undone.
		_, _ = n.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	}
	resp, err := n.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{
		Filter: &cri.PodSandboxFilter{LabelSelector: map[string]string{labelPodUID: config.GetMetadata().GetUid(), labelName: config.GetMetadata().GetName()}},
	})
	if err != nil {
		return stage(err, "look whether a pod is left")
	}
	var errs []error
	for _, p := range resp.GetItems() {
		_, err := n.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.GetId()})
		errs = append(errs, stage(err, "remove the pod"))
	}
	return errors.Join(errs...)
}

// whyNotStarted gives a failed start the exit code that the container has for it: 126 when the command can't be run, 127
// when it isn't there.
func (n *node) whyNotStarted(ctx context.Context, id string, cause error) error {
	status, err := n.status(ctx, id)
	if err != nil || status.GetState() != cri.ContainerState_CONTAINER_EXITED {
		return cause
	}
	text := strings.ReplaceAll(cause.Error(), "start container "+id+": ", "")
	if status.GetReason() == reasonOOM {
		text = "killed: memory limit reached"
	}
	return &exitcode.Error{Code: int(status.GetExitCode()), Err: fmt.Errorf("%s", text)}
}
