package container_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
)

// What a process keeps through execve is asked of the kernel by the process itself, in the container and in an exec that
// says nothing of its own.
func TestProcessAttributes(t *testing.T) {
	n := newNode(t, build(t))
	for name, c := range map[string]struct {
		change func(*specs.Spec)
		expect []string
	}{
		"none": {func(*specs.Spec) {}, []string{"policy 0 flags 0", "ioprio 0 0", "mempolicy 0x0 0x0"}},
		"batch": {func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
		}, []string{"policy 3 flags 1", "nice 7 priority 0"}},
		"idle": {func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedIdle}
		}, []string{"policy 5 flags 0"}},
		"nice": {func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Nice: -3}
		}, []string{"policy 0 flags 0", "nice -3 priority 0"}},
		"I/O class idle": {func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 4}
		}, []string{"ioprio 3 4"}},
		"I/O class best effort": {func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 7}
		}, []string{"ioprio 2 7"}},
		"I/O class real time": {func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT}
		}, []string{"ioprio 1 0"}},
		"nodes": {func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
		}, []string{"mempolicy 0x8002 0x1"}},
		"local node": {func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolLocal}
		}, []string{"mempolicy 0x4 0x0"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t, "attributes", "loop")
			c.change(tr.spec)
			testutil.Must(t, tr.start())
			want(t, tr.awaitOutput("loop"), c.expect...)
			out, exit, err := tr.exec(func(p *specs.Process) { p.Scheduler, p.IOPriority = nil, nil }, "attributes")
			testutil.Must(t, err)
			if exit.Code != 0 {
				t.Errorf("exit %+v", exit)
			}
			want(t, out, c.expect...)
		})
	}
}

// Where real-time tasks are scheduled by group (CONFIG_RT_GROUP_SCHED with cgroup v1), their group needs a budget, and all
// those above it.
func TestRealtimeScheduler(t *testing.T) {
	n := newNode(t, build(t))
	_, err := n.host.Ensure(bg(), n.cgroup)
	testutil.Must(t, err)
	const file = "/cpu.rt_runtime_us"
	grouped := true
	for _, group := range []string{testutil.CgroupRoot(), n.cgroup} {
		err := os.WriteFile("/sys/fs/cgroup/cpu"+group+file, []byte("20000"), 0)
		if grouped = !errors.Is(err, fs.ErrNotExist); grouped {
			testutil.Must(t, err)
		}
	}
	for policy, expect := range map[specs.LinuxSchedulerPolicy]string{
		specs.SchedFIFO: "policy 1 flags 0", specs.SchedRR: "policy 2 flags 0",
	} {
		t.Run(string(policy), func(t *testing.T) {
			tr := n.newTrial(t, "attributes")
			tr.spec.Process.Scheduler = &specs.Scheduler{Policy: policy, Priority: 5}
			if budget := int64(10000); grouped {
				tr.spec.Linux.Resources.CPU = &specs.LinuxCPU{RealtimeRuntime: &budget}
			}
			want(t, tr.run(), expect, "nice 0 priority 5")
		})
	}
	t.Run("without a budget", func(t *testing.T) {
		if !grouped {
			testutil.Skip(t, "real-time tasks are not scheduled by group here")
		}
		tr := n.newTrial(t)
		tr.spec.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedRR, Priority: 5}
		if err := tr.start(); !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "set the scheduling policy") {
			t.Errorf("error %v", err)
		}
	})
}

// A deadline task may not fork, so it asks for its children to be reset, which are the probe's other threads.
func TestDeadlineScheduler(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "attributes")
	tr.spec.Process.Scheduler = &specs.Scheduler{
		Policy: specs.SchedDeadline, Nice: 19, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork},
		Runtime: 2e6, Deadline: 20e6, Period: 30e6,
	}
	want(t, tr.run(), "policy 6 flags 1", "nice 0 priority 0", "times 2000000 20000000 30000000")
}

func TestPersonality(t *testing.T) {
	n := newNode(t, build(t))
	for domain, machine := range map[specs.LinuxPersonalityDomain][]string{
		specs.PerLinux32: {"machine i686", "machine armv8l"}, specs.PerLinux: {"machine x86_64", "machine aarch64"},
	} {
		t.Run(string(domain), func(t *testing.T) {
			tr := n.newTrial(t, "attributes", "loop")
			tr.spec.Linux.Personality = &specs.LinuxPersonality{Domain: domain}
			testutil.Must(t, tr.start())
			exec, _, err := tr.exec(nil, "attributes")
			testutil.Must(t, err)
			for _, out := range []string{tr.awaitOutput("loop"), exec} {
				if !strings.Contains(out, machine[0]) && !strings.Contains(out, machine[1]) {
					t.Errorf("none of %q in\n%s", machine, out)
				}
			}
		})
	}
}

func TestExecAffinity(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "attributes", "loop")
	tr.spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "0"}
	testutil.Must(t, tr.start())
	all := tr.awaitOutput("loop")
	wantNot(t, all, "cpus 0\n")
	for name, c := range map[string]struct {
		affinity *specs.CPUAffinity
		expect   string
	}{
		"container's":       {nil, "cpus 0"},
		"its own":           {&specs.CPUAffinity{Final: "1"}, "cpus 1"},
		"initial and final": {&specs.CPUAffinity{Initial: "1", Final: "0-1"}, "cpus 0-1"},
	} {
		t.Run(name, func(t *testing.T) {
			out, exit, err := tr.exec(func(p *specs.Process) { p.ExecCPUAffinity = c.affinity }, "attributes")
			testutil.Must(t, err)
			if exit.Code != 0 {
				t.Errorf("exit %+v", exit)
			}
			want(t, out, c.expect)
		})
	}
	t.Run("initial alone", func(t *testing.T) { // what is left of it after the move is the kernel's decision
		out, exit, err := tr.exec(func(p *specs.Process) { p.ExecCPUAffinity = &specs.CPUAffinity{Initial: "1"} }, "attributes")
		testutil.Must(t, err)
		if exit.Code != 0 || !strings.Contains(out, "cpus ") {
			t.Errorf("exit %+v: %s", exit, out)
		}
	})
	t.Run("no such CPU", func(t *testing.T) {
		_, _, err := tr.exec(func(p *specs.Process) { p.ExecCPUAffinity = &specs.CPUAffinity{Final: "8191"} }, "attributes")
		if err == nil || !strings.Contains(err.Error(), "set the final CPU affinity: invalid argument") {
			t.Errorf("error %v", err)
		}
	})
}

// After a restart of the daemon, execs still get what the container's spec says.
func TestAttributesAreRestored(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "loop")
	tr.spec.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7}
	testutil.Must(t, tr.start())
	tr.awaitOutput("loop")
	n.shutdown(t)
	n.boot(t)
	_, err := n.Restore(bg(), []container.Restored{{ID: tr.id, Spec: tr.spec, CgroupPath: tr.spec.Linux.CgroupsPath, LogPath: tr.opts.LogPath}})
	testutil.Must(t, err)
	out, _, err := tr.exec(func(p *specs.Process) { p.Scheduler = nil }, "attributes")
	testutil.Must(t, err)
	want(t, out, "policy 3 flags 0", "nice 7 priority 0")
}
