package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// kernel is an unpacked kernel package.
type kernel struct {
	image   string // path of vmlinuz
	modules string // path of lib/modules/VERSION
	version string
}

// metaPackage is the package that depends on the current cloud kernel.
const metaPackage = "linux-image-cloud-amd64"

var kernelPackage = regexp.MustCompile(`linux-image-[0-9][^\s]*-cloud-amd64`)

// fetchKernel downloads and unpacks the distribution's cloud kernel, once.
func fetchKernel(ctx context.Context, work string) (kernel, error) {
	dir := filepath.Join(work, "kernel")
	if k, err := findKernel(dir); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return kernel{}, err
	}
	name, err := kernelName(ctx)
	if err != nil {
		return kernel{}, err
	}
	if err := command(ctx, dir, "apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", name); err != nil {
		return kernel{}, err
	}
	deb, err := filepath.Glob(filepath.Join(dir, "linux-image-*.deb"))
	if err != nil || len(deb) != 1 {
		return kernel{}, errors.Join(err, fmt.Errorf("want one package in %s, have %v", dir, deb))
	}
	if err := command(ctx, dir, "dpkg-deb", "-x", deb[0], dir); err != nil {
		return kernel{}, err
	}
	if err := os.Remove(deb[0]); err != nil {
		return kernel{}, err
	}
	return findKernel(dir)
}

func findKernel(dir string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return kernel{}, errors.Join(err, fmt.Errorf("want one kernel in %s, have %v", dir, images))
	}
	version := filepath.Base(images[0])[len("vmlinuz-"):]
	for _, root := range []string{"lib", "usr/lib"} { // Debian 13 has moved it
		modules := filepath.Join(dir, root, "modules", version)
		if _, err := os.Stat(modules); err == nil {
			return kernel{image: images[0], modules: modules, version: version}, nil
		}
	}
	return kernel{}, fmt.Errorf("no modules of %s in %s", version, dir)
}

// kernelName asks for the package that the meta package stands for; a machine that has no package lists gets them first.
func kernelName(ctx context.Context) (string, error) {
	for attempt := range 2 {
		out, err := exec.CommandContext(ctx, "apt-cache", "depends", metaPackage).Output()
		if name := kernelPackage.FindString(string(out)); err == nil && name != "" {
			return name, nil
		}
		if attempt == 0 {
			if err := command(ctx, "/", "apt-get", "update", "-q"); err != nil {
				return "", err
			}
		}
	}
	return "", fmt.Errorf("package %s is not known here", metaPackage)
}

// boot runs the machine until it powers off, with its console in a file.
func boot(ctx context.Context, k kernel, archive string, o options) (err error) {
	console, err := os.Create(o.console)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, console.Close()) }()
	disk := filepath.Join(filepath.Dir(archive), "disk.img")
	if err := makeDisk(ctx, disk); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(disk)) }()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
		"-m", strconv.Itoa(o.memory), "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
		"-drive", "file="+disk+",format=raw,if=virtio,cache=unsafe",
		"-kernel", k.image, "-initrd", archive, "-append", kernelLine+strconv.Itoa(o.tries))
	cmd.Stdout, cmd.Stderr = io.Writer(console), os.Stderr
	return cmd.Run()
}

// kernelLine has no_timer_check because the kernel tests the timer against the processor's speed, and gives up where emulation is slow.
// What the kernel does not know becomes the environment of the first process.
const kernelLine = "console=ttyS0 quiet panic=-1 no_timer_check cgroup_no_v1=all psi=1 BERTH_TEST_TRIES="

// diskSize is that of the machine's disk, in bytes; only what is written takes room on the host's.
const diskSize = 8 << 30

// makeDisk makes the disk for the tests' files: in memory they had no ID-mapped mounts (tmpfs has them since Linux 6.3). It has no
// journal, as nobody reads it again.
func makeDisk(ctx context.Context, path string) error {
	program, err := findProgram("mke2fs")
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return err
	}
	return command(ctx, "/", program, "-q", "-t", "ext4", "-O", "^has_journal", path)
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
