package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod is a pod made through a client.
type Pod struct {
	ID     string
	Config *cri.PodSandboxConfig
	client *Client
}

// ownPID is what a kubelet sends for a pod that says nothing; the zero value of CRI would mean a PID namespace shared by the pod.
func ownPID() *cri.NamespaceOption { return &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER} }

// PodConfig returns the configuration of a plain pod whose containers log below logs.
func PodConfig(name, logs string) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "test", Uid: "uid-" + name},
		Hostname:     name,
		LogDirectory: filepath.Join(logs, name),
		Linux:        &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: ownPID()}},
	}
}

// RunPod makes the log folder, as a kubelet does, and runs the pod.
func (c *Client) RunPod(ctx context.Context, cfg *cri.PodSandboxConfig) (*Pod, error) {
	if cfg.GetLogDirectory() != "" {
		if err := os.MkdirAll(cfg.GetLogDirectory(), 0o755); err != nil {
			return nil, err
		}
	}
	r, err := c.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: cfg})
	if err != nil {
		return nil, err
	}
	return &Pod{ID: r.GetPodSandboxId(), Config: cfg, client: c}, nil
}

// With returns the pod as another client sees it, such as one made after a restart.
func (p *Pod) With(c *Client) *Pod { return &Pod{ID: p.ID, Config: p.Config, client: c} }

// IP returns the pod's first address.
func (p *Pod) IP(ctx context.Context) (string, error) {
	r, err := p.client.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.ID})
	if err != nil {
		return "", err
	}
	ip := r.GetStatus().GetNetwork().GetIp()
	if ip == "" {
		return "", fmt.Errorf("pod %s has no address", p.ID)
	}
	return ip, nil
}

// Remove stops and removes the pod and everything in it.
func (p *Pod) Remove(ctx context.Context) error {
	if _, err := p.client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.ID}); err != nil {
		return err
	}
	_, err := p.client.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.ID})
	return err
}

// RemoveAll removes every pod of the node.
func (c *Client) RemoveAll(ctx context.Context) error {
	r, err := c.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, p := range r.GetItems() {
		err = errors.Join(err, (&Pod{ID: p.GetId(), client: c}).Remove(ctx))
	}
	return err
}

// Container is a container made through a client.
type Container struct {
	ID     string
	Log    string // path of its log
	client *Client
}

// ContainerConfig returns the configuration of a plain container.
func ContainerConfig(name, image string, command ...string) *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name},
		Image:    &cri.ImageSpec{Image: image, UserSpecifiedImage: image},
		Command:  command,
		LogPath:  name + ".log",
		Linux:    &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: ownPID()}},
	}
}

// Create creates a container in the pod, pulling its image first if it is not there.
func (p *Pod) Create(ctx context.Context, cfg *cri.ContainerConfig) (*Container, error) {
	if err := p.client.EnsureImage(ctx, cfg.GetImage().GetImage()); err != nil {
		return nil, err
	}
	r, err := p.client.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.ID, Config: cfg, SandboxConfig: p.Config})
	if err != nil {
		return nil, err
	}
	return &Container{ID: r.GetContainerId(), Log: filepath.Join(p.Config.GetLogDirectory(), cfg.GetLogPath()), client: p.client}, nil
}

// Run creates and starts a container in the pod.
func (p *Pod) Run(ctx context.Context, cfg *cri.ContainerConfig) (*Container, error) {
	c, err := p.Create(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return c, c.Start(ctx)
}

// EnsureImage pulls an image that is not there.
func (c *Client) EnsureImage(ctx context.Context, ref string) error {
	s, err := c.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
	if err != nil || s.GetImage() != nil {
		return err
	}
	_, err = c.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
	return err
}

// With returns the container as another client sees it.
func (c *Container) With(client *Client) *Container {
	return &Container{ID: c.ID, Log: c.Log, client: client}
}

// Start starts the container.
func (c *Container) Start(ctx context.Context) error {
	_, err := c.client.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: c.ID})
	return err
}

// Stop stops the container within grace, then by force.
func (c *Container) Stop(ctx context.Context, grace time.Duration) error {
	_, err := c.client.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c.ID, Timeout: int64(grace.Seconds())})
	return err
}

// Remove removes the container.
func (c *Container) Remove(ctx context.Context) error {
	_, err := c.client.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: c.ID})
	return err
}

// Status returns the container's status.
func (c *Container) Status(ctx context.Context) (*cri.ContainerStatus, error) {
	r, err := c.client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: c.ID})
	return r.GetStatus(), err
}

// Exec runs a command in the container and returns its stdout. A non-zero exit is an error that shows stderr.
func (c *Container) Exec(ctx context.Context, command ...string) (string, error) {
	r, err := c.client.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: c.ID, Cmd: command, Timeout: 30})
	if err != nil {
		return "", err
	}
	if r.GetExitCode() != 0 {
		return string(r.GetStdout()), fmt.Errorf("%s: exit %d: %s", strings.Join(command, " "), r.GetExitCode(), r.GetStderr())
	}
	return string(r.GetStdout()), nil
}

// WaitExited waits until the container has exited and returns its status.
func (c *Container) WaitExited(ctx context.Context) (*cri.ContainerStatus, error) {
	var status *cri.ContainerStatus
	err := Eventually(ctx, 30*time.Second, func() error {
		var err error
		if status, err = c.Status(ctx); err != nil {
			return err
		}
		if status.GetState() != cri.ContainerState_CONTAINER_EXITED {
			return fmt.Errorf("container %s is %v", c.ID, status.GetState())
		}
		return nil
	})
	return status, err
}

// Eventually calls try until it returns nil, for at most the given time, and returns its last error.
func Eventually(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-tick.C:
		}
	}
}

// Container returns a container that is known by its ID.
func (c *Client) Container(id string) *Container { return &Container{ID: id, client: c} }
