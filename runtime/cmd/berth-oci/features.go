package main

import (
	"context"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/berth-runtime/berth/internal/version"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

func featuresCommand() *command {
	c := newCommand("features", "", "print what berth-oci can do, as the runtime specification has it", 0, 0)
	c.run = func(_ context.Context, a *app, _ []string) error { return a.printJSON(supported()) }
	return c
}

// supported is what this build can do anywhere, whatever this kernel has (runtime-spec, features.md).
func supported() features.Features {
	yes, no := true, false
	return features.Features{
		OCIVersionMin: "1.0.0", OCIVersionMax: specs.Version,
		Hooks:        []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions: plan.MountOptions(),
		Linux: &features.Linux{
			Namespaces:   sorted(plan.NamespaceTypes()),
			Capabilities: plan.Capabilities(^uint64(0)),
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &no, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled: &yes, Actions: sorted(seccomp.Actions()), Operators: sorted(seccomp.Operators()), Archs: sorted(seccomp.Archs()),
				KnownFlags: sorted(seccomp.Flags()), SupportedFlags: sorted(seccomp.Flags()),
			},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &yes, Schemata: &yes, Monitoring: &yes},
			MemoryPolicy:    &features.MemoryPolicy{Modes: plan.MemoryModes(), Flags: plan.MemoryFlags()},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
		},
		Annotations: map[string]string{"io.berth.version": version.String()},
	}
}

func sorted[T ~string](list []T) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	slices.Sort(out)
	return out
}
