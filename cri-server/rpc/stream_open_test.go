package rpc_test

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
)

func TestStreamsAreOnlyOpenedOnWhatRuns(t *testing.T) {
	f := newFake()
	f.pods = []pod.PodStatus{{ID: "p", State: pod.PodReady}, {ID: "q", State: pod.PodStopped}}
	f.containers = []pod.ContainerStatus{{ID: "c", State: pod.ContainerRunning}, {ID: "d", State: pod.ContainerExited}, {ID: "e", State: pod.ContainerCreated}}
	c := ready(t, f)
	exec, err := c.Exec(t.Context(), &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"sh"}, Stdout: true})
	if err != nil || exec.GetUrl() != "http://x/exec/c" {
		t.Fatalf("got %v, %v", exec, err)
	}
	_, err = c.Exec(t.Context(), &runtimeapi.ExecRequest{ContainerId: "d", Cmd: []string{"sh"}, Stdout: true})
	wantCode(t, err, codes.FailedPrecondition)
	_, err = c.Exec(t.Context(), &runtimeapi.ExecRequest{ContainerId: "c"})
	wantCode(t, err, codes.InvalidArgument)
	_, err = c.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: "x"})
	wantCode(t, err, codes.NotFound)
	_, err = c.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: "d", Stdout: true})
	wantCode(t, err, codes.FailedPrecondition)
	attach, err := c.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: "e", Stdin: true, Stdout: true})
	if err != nil || attach.GetUrl() != "http://x/attach/e" || !slices.Contains(f.calls, "reserve e true true false") {
		t.Fatalf("attach before the start: %v, %v, %v", attach, err, f.calls)
	}
	_, err = c.PortForward(t.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: "q", Port: []int32{1}})
	wantCode(t, err, codes.FailedPrecondition)
	_, err = c.PortForward(t.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: "p", Port: []int32{70000}})
	wantCode(t, err, codes.InvalidArgument)
}
