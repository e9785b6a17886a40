package plan

import (
	"cmp"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Inherited is what a process that joins a container gets from it: what belongs to the container as a whole, and what its
// own description says nothing about. The zero value is a container without any of it.
type Inherited struct {
	process specs.Process
	linux   specs.Linux

	hostMounts bool // it has no mount namespace
}

// Inherit reads what later processes get from the spec of a container, which may be nil if it is not known.
func Inherit(s *specs.Spec) Inherited {
	var in Inherited
	if s == nil {
		return in
	}
	if p := s.Process; p != nil {
		in.process = specs.Process{
			ApparmorProfile: p.ApparmorProfile, SelinuxLabel: p.SelinuxLabel,
			OOMScoreAdj: p.OOMScoreAdj, Scheduler: p.Scheduler, IOPriority: p.IOPriority, ExecCPUAffinity: p.ExecCPUAffinity,
		}
	}
	if l := s.Linux; l != nil {
		in.linux = specs.Linux{Personality: l.Personality, MemoryPolicy: l.MemoryPolicy}
		in.hostMounts = !slices.ContainsFunc(l.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.MountNamespace })
	}
	return in
}

// complete returns the description with the gaps filled.
func (in *Inherited) complete(p *specs.Process) *specs.Process {
	out, from := *p, &in.process
	out.ApparmorProfile = cmp.Or(p.ApparmorProfile, from.ApparmorProfile)
	out.SelinuxLabel = cmp.Or(p.SelinuxLabel, from.SelinuxLabel)
	out.OOMScoreAdj = cmp.Or(p.OOMScoreAdj, from.OOMScoreAdj)
	out.Scheduler = cmp.Or(p.Scheduler, from.Scheduler)
	out.IOPriority = cmp.Or(p.IOPriority, from.IOPriority)
	out.ExecCPUAffinity = cmp.Or(p.ExecCPUAffinity, from.ExecCPUAffinity)
	return &out
}
