package main

import (
	"maps"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// request is what run asks of berthd, worked out before anything is made.
type request struct {
	pod       *cri.PodSandboxConfig
	container *cri.ContainerConfig
}

// build turns the command line into requests, but for the folder of the logs. The name is chosen by now; uid makes the pod
// one of its own.
func (o *runOptions) build(uid string) (request, error) {
	labels, err := parseLabels(o.labels)
	if err != nil {
		return request{}, err
	}
	maps.Copy(labels, map[string]string{
		labelName: o.name, labelPodName: o.name, labelPodNamespace: namespace, labelPodUID: uid, labelContainerName: o.name,
	})
	podConfig, err := o.buildPod(uid, labels)
	if err != nil {
		return request{}, err
	}
	container, err := o.buildContainer(labels)
	if err != nil {
		return request{}, err
	}
	container.Annotations = podConfig.GetAnnotations()
	return request{pod: podConfig, container: container}, nil
}

// scope are the namespaces of a container that is alone in its pod: processes of its own, as a Docker user expects.
func (o *runOptions) scope() *cri.NamespaceOption {
	scope := &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}
	if o.network == "host" {
		scope.Network = cri.NamespaceMode_NODE
	}
	return scope
}

func (o *runOptions) buildPod(uid string, labels map[string]string) (*cri.PodSandboxConfig, error) {
	c := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: o.name, Namespace: namespace, Uid: uid},
		Labels:   labels,
		Linux: &cri.LinuxPodSandboxConfig{
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: o.scope(), Privileged: o.privileged},
		},
	}
	if o.network != "host" {
		c.Hostname = o.hostname
		if c.GetHostname() == "" {
			c.Hostname = strings.NewReplacer("_", "-", ".", "-").Replace(o.name)
		}
	}
	var shown []string
	for _, text := range o.ports {
		m, err := parsePort(text)
		if err != nil {
			return nil, err
		}
		c.PortMappings = append(c.PortMappings, m)
		shown = append(shown, portText(m))
	}
	c.Annotations = map[string]string{}
	if shown != nil {
		c.Annotations[annotationPorts] = strings.Join(shown, ", ")
	}
	if o.remove {
		c.Annotations[annotationRemove] = "true"
	}
	return c, nil
}

func (o *runOptions) buildContainer(labels map[string]string) (*cri.ContainerConfig, error) {
	env, err := parseEnv(o.env)
	if err != nil {
		return nil, err
	}
	resources, err := resourcesOf(o.memory, o.cpus)
	if err != nil {
		return nil, err
	}
	security := &cri.LinuxContainerSecurityContext{
		NamespaceOptions: o.scope(), Privileged: o.privileged, ReadonlyRootfs: o.readonlyRootfs, NoNewPrivs: o.noNewPriv,
		Capabilities: &cri.Capability{AddCapabilities: o.capAdd, DropCapabilities: o.capDrop},
	}
	if err := userOf(o.user, security); err != nil {
		return nil, err
	}
	c := &cri.ContainerConfig{
		Metadata:   &cri.ContainerMetadata{Name: o.name},
		Image:      &cri.ImageSpec{Image: o.image, UserSpecifiedImage: o.image},
		Args:       o.args,
		WorkingDir: o.workdir,
		Envs:       env,
		Labels:     labels,
		LogPath:    "0.log",
		Stdin:      o.interactive,
		StdinOnce:  o.interactive && !o.tty, // a terminal may be left and found again
		Tty:        o.tty,
		Linux:      &cri.LinuxContainerConfig{Resources: resources, SecurityContext: security},
	}
	if o.entrypoint != "" {
		c.Command = []string{o.entrypoint}
	}
	if o.tty {
		c.Envs = append([]*cri.KeyValue{{Key: "TERM", Value: []byte("xterm")}}, c.GetEnvs()...)
	}
	for _, text := range o.volumes {
		m, err := parseVolume(text)
		if err != nil {
			return nil, err
		}
		c.Mounts = append(c.Mounts, m)
	}
	return c, nil
}
