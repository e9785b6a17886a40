package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/rpc"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/internal/errdefs"
)

type client struct {
	runtimeapi.RuntimeServiceClient
	images runtimeapi.ImageServiceClient
	server *rpc.Server
}

// serve runs a server over f on a real socket.
func serve(t *testing.T, f *fake, networkErr error) client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.New(rpc.Config{
		Pods: f, Containers: f, Streams: f, Images: fakeImages{f}, Network: fakeNetwork{f, networkErr},
		Healthy: func() error { return nil }, Version: "1.2.3", Logger: slog.New(slog.DiscardHandler),
		Info: func(context.Context) (map[string]string, error) {
			return map[string]string{"config": `{"stateDir":"/s"}`}, nil
		},
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Stop(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return client{runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn), server}
}

func ready(t *testing.T, f *fake) client {
	c := serve(t, f, nil)
	c.server.SetReady()
	return c
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func TestNothingIsAnsweredBeforeRecoveryEnds(t *testing.T) {
	c := serve(t, newFake(), nil)
	_, err := c.Version(t.Context(), &runtimeapi.VersionRequest{})
	wantCode(t, err, codes.Unavailable)
	events, err := c.GetContainerEvents(t.Context(), &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = events.Recv()
	wantCode(t, err, codes.Unavailable)
	c.server.SetReady()
	v, err := c.Version(t.Context(), &runtimeapi.VersionRequest{})
	if err != nil || v.GetRuntimeName() != "berth" || v.GetRuntimeVersion() != "1.2.3" || v.GetRuntimeApiVersion() != "v1" {
		t.Fatalf("got %v, %v", v, err)
	}
}

func TestStopAndRemoveOfWhatIsNotThereSucceed(t *testing.T) {
	f := newFake()
	c := ready(t, f)
	const id = "0b4e7d1c-not-an-id"
	_, err := c.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
	wantCode(t, err, codes.OK)
	_, err = c.RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
	wantCode(t, err, codes.OK)
	_, err = c.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 1 << 60})
	wantCode(t, err, codes.OK)
	_, err = c.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: -3})
	wantCode(t, err, codes.OK)
	_, err = c.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: id})
	wantCode(t, err, codes.OK)
	_, err = c.images.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: "x"}})
	wantCode(t, err, codes.OK)
	f.noted(t, "stop pod "+id, "remove pod "+id, "stop in 8760h0m0s container "+id, "stop in 0s container "+id,
		"remove container "+id, "remove image x")

	_, err = c.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: id})
	wantCode(t, err, codes.NotFound)
	_, err = c.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{})
	wantCode(t, err, codes.InvalidArgument)
}

func TestRunPodSandbox(t *testing.T) {
	f := newFake()
	c := ready(t, f)
	f.run = func(_ context.Context, c spec.PodConfig) (string, error) { return "id-of-" + c.Name, nil }
	req := &runtimeapi.RunPodSandboxRequest{
		Config: &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "p"}},
	}
	resp, err := c.RunPodSandbox(t.Context(), req)
	if err != nil || resp.GetPodSandboxId() != "id-of-p" {
		t.Fatalf("got %v, %v", resp, err)
	}
	f.run = func(ctx context.Context, _ spec.PodConfig) (string, error) {
		<-ctx.Done()
		return "", fmt.Errorf("set up the network: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.RunPodSandbox(ctx, req)
	wantCode(t, err, codes.DeadlineExceeded)
	_, err = c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{})
	wantCode(t, err, codes.InvalidArgument)
}

func TestPanicIsAnInternalErrorAndTheServerLives(t *testing.T) {
	f := newFake()
	c := ready(t, f)
	_, err := c.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: "c", Cmd: []string{"panic"}})
	wantCode(t, err, codes.Internal)
	_, err = c.Version(t.Context(), &runtimeapi.VersionRequest{})
	wantCode(t, err, codes.OK)
}

func TestPodAnswers(t *testing.T) {
	f := newFake()
	at := time.Unix(5, 6)
	f.pods = []pod.PodStatus{{
		ID: "p", State: pod.PodReady, CreatedAt: at, IPs: []netip.Addr{netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd00::2")},
		Config: spec.PodConfig{Name: "n", Namespace: "ns", UID: "u", Annotations: map[string]string{"a": "b"}, Handler: "h"},
	}, {ID: "q", State: pod.PodStopped}}
	f.containers = []pod.ContainerStatus{{ID: "c", State: pod.ContainerStarting}, {ID: "d", State: pod.ContainerRemoving, ExitCode: 7}}
	c := ready(t, f)
	got, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: "p", Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	s := got.GetStatus()
	if s.GetState() != runtimeapi.PodSandboxState_SANDBOX_READY || s.GetNetwork().GetIp() != "10.1.0.2" ||
		s.GetNetwork().GetAdditionalIps()[0].GetIp() != "fd00::2" || s.GetCreatedAt() != at.UnixNano() ||
		s.GetMetadata().GetNamespace() != "ns" || s.GetRuntimeHandler() != "h" || got.GetTimestamp() == 0 {
		t.Fatalf("got %v", got)
	}
	if !strings.Contains(got.GetInfo()["info"], `"state":"ready"`) {
		t.Fatalf("got %v", got.GetInfo())
	}
	if cs := got.GetContainersStatuses(); len(cs) != 2 || cs[0].GetState() != runtimeapi.ContainerState_CONTAINER_CREATED ||
		cs[1].GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || cs[1].GetExitCode() != 7 {
		t.Fatalf("got %v", cs)
	}
	filter := &runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY}}
	list, err := c.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{Filter: filter})
	if err != nil || len(list.GetItems()) != 1 || list.GetItems()[0].GetId() != "q" {
		t.Fatalf("got %v, %v", list, err)
	}
	exited := &runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_EXITED}}
	cs, err := c.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: exited})
	if err != nil || len(cs.GetContainers()) != 1 || cs.GetContainers()[0].GetId() != "d" {
		t.Fatalf("got %v, %v", cs, err)
	}
}

func TestStreamedListsHoldEveryItemOnce(t *testing.T) {
	f := newFake()
	big := map[string]string{"x": strings.Repeat("y", 300<<10)}
	for i := range 20 {
		f.pods = append(f.pods, pod.PodStatus{ID: fmt.Sprint(i), Config: spec.PodConfig{Annotations: big}})
	}
	stream, err := ready(t, f).StreamPodSandboxes(t.Context(), &runtimeapi.StreamPodSandboxesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next, messages := 0, 0
	for ; ; messages++ {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range part.GetPodSandboxes() {
			if p.GetId() != fmt.Sprint(next) {
				t.Fatalf("got %s, want %d", p.GetId(), next)
			}
			next++
		}
	}
	if next != 20 || messages < 5 {
		t.Fatalf("%d items in %d messages", next, messages)
	}
}

func TestPullTellsItsProgressAndHidesSecrets(t *testing.T) {
	f := newFake()
	c := ready(t, f)
	told, finish := make(chan struct{}), make(chan struct{})
	f.pull = func(_ context.Context, r imagestore.PullRequest) (imagestore.Image, error) {
		r.Progress(imagestore.Progress{Stage: "layers", Done: 3, Total: 9})
		close(told)
		<-finish
		return imagestore.Image{ID: "sha256:1"}, nil
	}
	pulled := make(chan error, 1)
	go func() {
		resp, err := c.images.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "busybox"}})
		if err == nil && resp.GetImageRef() != "sha256:1" {
			err = fmt.Errorf("image_ref is %q", resp.GetImageRef())
		}
		pulled <- err
	}()
	<-told
	req := &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: "busybox"}, Verbose: true}
	got, err := c.images.ImageStatus(t.Context(), req)
	if err != nil || got.GetImage() != nil || got.GetInfo()[rpc.PullProgressKey] != `{"stage":"layers","done":3,"total":9}` {
		t.Fatalf("got %v, %v", got, err)
	}
	close(finish)
	if err := <-pulled; err != nil {
		t.Fatal(err)
	}
	if got, err = c.images.ImageStatus(t.Context(), req); err != nil || got.GetInfo()[rpc.PullProgressKey] != "" {
		t.Fatalf("got %v, %v after the pull", got, err)
	}

	f.pull = func(_ context.Context, r imagestore.PullRequest) (imagestore.Image, error) {
		return imagestore.Image{}, errdefs.New(errdefs.ErrUnauthenticated, "log in with %s", r.Auth.Password)
	}
	_, err = c.images.PullImage(t.Context(), &runtimeapi.PullImageRequest{
		Image: &runtimeapi.ImageSpec{Image: "busybox"}, Auth: &runtimeapi.AuthConfig{Username: "u", Password: "hunter22"},
	})
	wantCode(t, err, codes.Unauthenticated)
	if strings.Contains(err.Error(), "hunter22") {
		t.Fatalf("the password is in %q", err)
	}
	_, err = c.images.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "b", RuntimeHandler: "x"}})
	wantCode(t, err, codes.InvalidArgument)
}

func TestImages(t *testing.T) {
	f := newFake()
	f.images = []imagestore.Image{{ID: "sha256:1", Tags: []string{"a:1"}, Size: 5}, {ID: "sha256:2"}}
	f.images[0].Config.Config.User = "1000:5"
	f.images[1].Config.Config.User = "www"
	c := ready(t, f)
	all, err := c.images.ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
	if err != nil || len(all.GetImages()) != 2 {
		t.Fatalf("got %v, %v", all, err)
	}
	first, second := all.GetImages()[0], all.GetImages()[1]
	if first.GetUid().GetValue() != 1000 || first.GetUsername() != "" || second.GetUid() != nil || second.GetUsername() != "www" {
		t.Fatalf("users: %v, %v", first, second)
	}
	one, err := c.images.ListImages(t.Context(), &runtimeapi.ListImagesRequest{
		Filter: &runtimeapi.ImageFilter{Image: &runtimeapi.ImageSpec{Image: "a:1"}},
	})
	if err != nil || len(one.GetImages()) != 1 || one.GetImages()[0].GetId() != "sha256:1" {
		t.Fatalf("got %v, %v", one, err)
	}
	fs, err := c.images.ImageFsInfo(t.Context(), &runtimeapi.ImageFsInfoRequest{})
	if err != nil || fs.GetImageFilesystems()[0].GetUsedBytes().GetValue() != 5 || fs.GetContainerFilesystems()[0].GetInodesUsed().GetValue() != 8 {
		t.Fatalf("got %v, %v", fs, err)
	}
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	c := serve(t, newFake(), errors.New("no plugin bridge in /x"))
	c.server.SetReady()
	got, err := c.Status(t.Context(), &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	runtime, network := got.GetStatus().GetConditions()[0], got.GetStatus().GetConditions()[1]
	if !runtime.GetStatus() || network.GetStatus() || network.GetMessage() != "no plugin bridge in /x" || network.GetReason() == "" {
		t.Fatalf("got %v", got)
	}
	if got.GetInfo()["config"] == "" || !got.GetRuntimeHandlers()[0].GetFeatures().GetRecursiveReadOnlyMounts() {
		t.Fatalf("got %v", got)
	}
	conf, err := c.RuntimeConfig(t.Context(), &runtimeapi.RuntimeConfigRequest{})
	if err != nil || conf.GetLinux().GetCgroupDriver() != runtimeapi.CgroupDriver_CGROUPFS {
		t.Fatalf("got %v, %v", conf, err)
	}
}

func TestUpdateRuntimeConfig(t *testing.T) {
	f := newFake()
	c := ready(t, f)
	set := func(cidr string) error {
		_, err := c.UpdateRuntimeConfig(t.Context(), &runtimeapi.UpdateRuntimeConfigRequest{
			RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: cidr}},
		})
		return err
	}
	wantCode(t, set(""), codes.OK)
	wantCode(t, set("10.0.0.0/24,fd00::/64"), codes.OK)
	wantCode(t, set("10.0.0.0/24,x"), codes.InvalidArgument)
	f.noted(t, "cidr 10.0.0.0/24,fd00::/64")
}

func TestEventsFlowAndASlowClientIsCutOff(t *testing.T) {
	f := newFake()
	c := ready(t, f)
	stream, err := c.GetContainerEvents(t.Context(), &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil { // subscribed from here on
		t.Fatal(err)
	}
	f.bus.Publish(pod.Event{Type: pod.EventStopped, ID: "c", At: time.Unix(1, 0), Pod: pod.PodStatus{ID: "p"}})
	e, err := stream.Recv()
	if err != nil || e.GetContainerId() != "c" || e.GetContainerEventType() != runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT ||
		e.GetPodSandboxStatus().GetId() != "p" {
		t.Fatalf("got %v, %v", e, err)
	}
	big := pod.PodStatus{Config: spec.PodConfig{Labels: map[string]string{"x": strings.Repeat("y", 1<<20)}}}
	for range 50 { // the client reads nothing: flow control stops the server, then the queue of four overflows
		f.bus.Publish(pod.Event{ID: "c", Pod: big})
	}
	for err == nil {
		_, err = stream.Recv()
	}
	wantCode(t, err, codes.ResourceExhausted)
	if !strings.Contains(err.Error(), "list again") {
		t.Fatal(err)
	}
}

func TestStopEndsStreamsOfEvents(t *testing.T) {
	c := ready(t, newFake())
	stream, err := c.GetContainerEvents(t.Context(), &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	c.server.Stop(t.Context()) // would wait for ever if the stream did not end
	_, err = stream.Recv()
	wantCode(t, err, codes.Unavailable)
}

func TestWhatBerthDoesNotDoIsUnimplementedWithAReason(t *testing.T) {
	c := ready(t, newFake())
	_, err := c.CheckpointContainer(t.Context(), &runtimeapi.CheckpointContainerRequest{ContainerId: "c"})
	wantCode(t, err, codes.Unimplemented)
	if !strings.Contains(err.Error(), "does not checkpoint") {
		t.Fatal(err)
	}
}
