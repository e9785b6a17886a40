package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// job is a package whose tests run in the machine.
type job struct {
	folder string // of the package, relative to the repository
	run    string // -test.run
	suite  bool   // runs critest
}

// jobs are the tests that mean something else on this kernel: all of the runtime, namespaces and plugins that touch the kernel; cgroup
// v2, AppArmor, no file-backed EROFS, ipvlan and dummy links. The last two are berthd itself.
func allJobs() []job {
	return []job{
		{folder: "runtime/cgroup"},
		{folder: "runtime/fork"},
		{folder: "runtime/keeper"},
		{folder: "runtime/container"},
		{folder: "runtime/userns"},
		{folder: "runtime/lsm"},
		{folder: "runtime/netdev"},
		{folder: "runtime/pause"},
		{folder: "runtime/resctrl"},
		{folder: "runtime/rootfs"},
		{folder: "runtime/seccomp"},
		{folder: "runtime/supervise"},
		{folder: "runtime/systemd"},
		{folder: "runtime/cmd/berth-oci", run: "^(TestSystemd|TestEventsOfMemory|TestCreateStartKillDelete|TestExec|TestExecBesideGroups|TestHostMountNamespace|TestNetDevices|TestFeatures)$"},
		{folder: "imagestore/snapshot/overlay"},
		{folder: "netns"},
		{folder: "cni-plugins/bandwidth"},
		{folder: "cni-plugins/firewall"},
		{folder: "cni-plugins/tuning"},
		{folder: "cni-plugins/internal/alloc"},
		{folder: "cni-plugins/internal/link"},
		{folder: "cni-plugins/internal/names"},
		{folder: "cni-plugins/internal/nft"},
		{folder: "cni-plugins/internal/plugin"},
		{folder: "cni-plugins/internal/ports"},
		{folder: "test/cni-conformance", run: "^TestBerth$"},
		{folder: "test/e2e", run: "^(TestPodAnswersOverHTTP|TestExitCodesAndLogs|TestOOMKilled|TestResources|TestExec|TestWhiteouts|TestSharedPIDNamespace|TestDefaultProfile)$"},
		{folder: "test/conformance/groups", suite: true},
	}
}

// chooseJobs returns the jobs of the given folders, or all. A package without tests is an error: nothing may vanish.
func chooseJobs(repo string, folders []string) ([]job, error) {
	jobs := slices.DeleteFunc(allJobs(), func(j job) bool { return len(folders) > 0 && !slices.Contains(folders, j.folder) })
	if len(jobs) == 0 {
		return nil, fmt.Errorf("no job is named %v", folders)
	}
	for _, j := range jobs {
		tests, err := filepath.Glob(filepath.Join(repo, j.folder, "*_test.go"))
		if err != nil {
			return nil, err
		}
		if len(tests) == 0 {
			return nil, fmt.Errorf("%s has no tests", j.folder)
		}
	}
	return jobs, nil
}

// binary is the name of a job's test binary.
func (j job) binary() string { return strings.ReplaceAll(j.folder, "/", "-") + ".test" }

// buildArchive makes the machine's root.
func buildArchive(ctx context.Context, dst, repo, work string, k kernel, jobs []job) (err error) {
	modules, err := loadModules(k.modules, wantedModules)
	if err != nil {
		return err
	}
	if err := static(ctx, repo, filepath.Join(work, "init"), "build", "./test/vm/guest"); err != nil {
		return err
	}
	f, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c := newCpio(f)
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "root", "var/tmp", "new"} {
		c.mkdir(d)
	}
	c.copyTree("init", filepath.Join(work, "init"))
	if err := addSystem(c, repo); err != nil {
		return err
	}
	if err := addPrograms(c, repo, jobs); err != nil {
		return err
	}
	var order strings.Builder
	for _, m := range modules {
		c.file("modules/"+m.name, 0o644, m.data)
		fmt.Fprintln(&order, m.name)
	}
	c.file("modules.order", 0o644, []byte(order.String()))
	var list strings.Builder
	for _, j := range jobs {
		if err := addJob(ctx, c, repo, work, j); err != nil {
			return err
		}
		fmt.Fprintf(&list, "%s %s %s\n", j.folder, j.binary(), j.run)
	}
	c.file("jobs", 0o644, []byte(list.String()))
	return c.close()
}

// addSystem adds a small user land, all of it below /usr as on the distribution, and the repository as tests look for it.
func addSystem(c *cpioWriter, repo string) error {
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		c.mkdir("usr/" + d)
		c.symlink(d, "usr/"+d)
	}
	box := filepath.Join(repo, "build", "cache", "busybox")
	c.copyTree("usr/bin/busybox", box)
	applets, err := exec.Command(box, "--list").Output()
	if err != nil {
		return fmt.Errorf("list the applets of %s: %w", box, err)
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			c.symlink("usr/bin/"+applet, "busybox")
		}
	}
	c.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	c.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	c.file("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n"))
	c.file("etc/resolv.conf", 0o644, []byte("nameserver 192.0.2.53\n"))
	for _, part := range []string{"go.mod", "Makefile", "bin", "build/images", "cri-server/spec/testdata"} {
		c.copyTree("repo/"+part, filepath.Join(repo, part))
	}
	return nil
}

// addJob compiles a job's tests and adds them with their data.
func addJob(ctx context.Context, c *cpioWriter, repo, work string, j job) error {
	path := filepath.Join(work, j.binary())
	if err := static(ctx, repo, path, "test", "-c", "./"+j.folder); err != nil {
		return err
	}
	c.copyTree("repo/"+j.folder+"/"+j.binary(), path)
	c.copyTree("repo/"+j.folder+"/testdata", filepath.Join(repo, j.folder, "testdata"))
	programs, err := filepath.Glob(filepath.Join(repo, j.folder, "testdata", "*", "main.go"))
	if err != nil {
		return err
	}
	for _, p := range programs { // there is no compiler in the machine
		name := filepath.Base(filepath.Dir(p))
		out := filepath.Join(work, j.binary()+"."+name)
		if err := static(ctx, repo, out, "build", "./"+filepath.Join(j.folder, "testdata", name)); err != nil {
			return err
		}
		c.copyTree("repo/"+j.folder+"/testdata/bin/"+name, out)
	}
	return nil
}

// static runs a go command that writes a static program to out.
func static(ctx context.Context, repo, out, verb string, args ...string) error {
	args = append([]string{verb, "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out}, args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}
