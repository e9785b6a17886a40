package e2e

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

func TestUnknownHandler(t *testing.T) {
	f := setup(t, node.Options{})
	cfg := node.PodConfig("p", f.logs)
	_, err := f.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: cfg, RuntimeHandler: "nope"})
	wantError(t, err, []codes.Code{codes.InvalidArgument, codes.NotFound}, `nope`)
	f.wantClean(t)
}

func TestCommandNotFound(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	for command, reason := range map[string]string{"/no/such": "/no/such", "nosuch": "nosuch", "/etc/passwd": "/etc/passwd"} {
		c, err := p.Create(t.Context(), node.ContainerConfig("c"+strings.ReplaceAll(command, "/", "-"), busybox, command))
		testutil.Must(t, err)
		wantError(t, c.Start(t.Context()), anyCode, reason)
		s, err := c.Status(t.Context())
		testutil.Must(t, err)
		if s.GetState() != cri.ContainerState_CONTAINER_EXITED || s.GetExitCode() == 0 || s.GetReason() == "" || !strings.Contains(s.GetMessage(), reason) {
			t.Errorf("%s: state %v, exit %d, reason %q, message %q", command, s.GetState(), s.GetExitCode(), s.GetReason(), s.GetMessage())
		}
		testutil.Must(t, c.Remove(t.Context()))
	}
}

func TestLogFolderMissing(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	testutil.Must(t, os.RemoveAll(p.Config.GetLogDirectory()))
	c, err := p.Create(t.Context(), node.ContainerConfig("c", busybox, "true"))
	if err == nil {
		err = c.Start(t.Context())
	}
	wantError(t, err, anyCode, p.Config.GetLogDirectory())
}

// TestRefusedRequests wants what berth can't do to be refused by name, never to be ignored.
func TestRefusedRequests(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	testutil.Must(t, f.EnsureImage(t.Context(), busybox))
	for name, c := range map[string]struct {
		change func(*cri.ContainerConfig)
		part   string
	}{
		"no name":        {func(c *cri.ContainerConfig) { c.Metadata = nil }, "metadata"},
		"relative mount": {func(c *cri.ContainerConfig) { c.Mounts = []*cri.Mount{{ContainerPath: "rel", HostPath: "/tmp"}} }, "rel"},
		"mount up":       {func(c *cri.ContainerConfig) { c.LogPath = "../../etc/x" }, "../../etc/x"},
		"unknown device": {func(c *cri.ContainerConfig) {
			c.Devices = []*cri.Device{{ContainerPath: "/dev/x", HostPath: "/dev/none", Permissions: "rwm"}}
		}, "/dev/none"},
		"unknown cap": {security(func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddCapabilities: []string{"FLY"}}
		}), "FLY"},
		"group alone":  {security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsGroup = &cri.Int64Value{Value: 7} }), "group"},
		"unknown user": {security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = "nobody-at-all" }), "nobody-at-all"},
		"seccomp profile": {security(func(s *cri.LinuxContainerSecurityContext) {
			s.Seccomp = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: "/p.json"}
		}), "seccomp"},
		"apparmor profile": {security(func(s *cri.LinuxContainerSecurityContext) {
			s.Apparmor = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: "p"}
		}), "pp"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := node.ContainerConfig("c", busybox, "true")
			c.change(cfg)
			made, err := p.Create(t.Context(), cfg)
			if err == nil {
				err = made.Start(t.Context())
				testutil.Must(t, made.Remove(t.Context()))
			}
			wantError(t, err, append(anyCode, codes.Unimplemented), c.part)
		})
	}
	list, err := f.ListContainers(t.Context(), &cri.ListContainersRequest{})
	testutil.Must(t, err)
	if len(list.GetContainers()) > 0 {
		t.Errorf("left: %v", list.GetContainers())
	}
}

func security(change func(*cri.LinuxContainerSecurityContext)) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) {
		change(c.Linux.SecurityContext)
	}
}

// TestUnknownIDs wants queries to say not found, and stops and removals to succeed.
func TestUnknownIDs(t *testing.T) {
	f := setup(t, node.Options{})
	ctx, id := t.Context(), strings.Repeat("0", 64)
	_, err := f.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id})
	wantError(t, err, []codes.Code{codes.NotFound}, id)
	_, err = f.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	wantError(t, err, []codes.Code{codes.NotFound}, id)
	_, err = f.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}})
	wantError(t, err, []codes.Code{codes.NotFound}, id)
	_, err = f.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id})
	wantError(t, err, []codes.Code{codes.NotFound}, id)
	for what, call := range map[string]func() error{
		"StopPodSandbox": func() error {
			_, err := f.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id})
			return err
		},
		"RemovePodSandbox": func() error {
			_, err := f.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
			return err
		},
		"StopContainer": func() error { _, err := f.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id}); return err },
		"RemoveContainer": func() error {
			_, err := f.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id})
			return err
		},
		"RemoveImage": func() error {
			_, err := f.RemoveImage(ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: busybox}})
			return err
		},
	} {
		if err := call(); err != nil {
			t.Errorf("%s of what is not there: %v", what, err)
		}
	}
}
