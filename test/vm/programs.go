package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// addPrograms adds what tests call and busybox does not have: AppArmor's parser with the files that profiles include,
// nft, and what critest needs if it runs.
func addPrograms(c *cpioWriter, repo string, jobs []job) error {
	for _, name := range []string{"apparmor_parser", "nft"} {
		program, err := findProgram(name)
		if err != nil {
			return err
		}
		if err := addProgram(c, "usr/sbin/"+name, program); err != nil {
			return err
		}
	}
	for _, dir := range []string{"etc/apparmor", "etc/apparmor.d", "usr/share/apparmor-features"} {
		c.copyTree(dir, "/"+dir)
	}
	c.mkdir("var/cache/apparmor")
	if !slices.ContainsFunc(jobs, func(j job) bool { return j.suite }) {
		return nil
	}
	ipcmk, err := findProgram("ipcmk")
	if err != nil {
		return err
	}
	if err := addProgram(c, "usr/bin/ipcmk", ipcmk); err != nil {
		return err
	}
	c.file("usr/bin/sudo", 0o755, []byte("#!/bin/sh\nexec \"$@\"\n")) // everything is root
	c.copyTree("repo/test/conformance/known-failures.txt", filepath.Join(repo, "test/conformance/known-failures.txt"))
	critest := filepath.Join(repo, "build/bin/critest")
	if _, err := os.Stat(critest); err != nil {
		return fmt.Errorf("%w; run `make critest` first", err)
	}
	return addProgram(c, "repo/build/bin/critest", critest)
}

// findProgram finds an installed program, also where only root's PATH leads.
func findProgram(name string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed; `make test-vm` installs what the machine needs", name)
}

// addProgram adds a program of the host and the libraries that its loader loads for it. What is not below /usr is there by
// the links of a merged file system.
func addProgram(c *cpioWriter, name, host string) error {
	needed, err := libraries(host)
	if err != nil {
		return fmt.Errorf("find the libraries of %s: %w", host, err)
	}
	for _, library := range needed {
		at := "usr/" + strings.TrimPrefix(strings.TrimPrefix(library, "/usr"), "/")
		if err := addCopy(c, at, library); err != nil {
			return err
		}
	}
	return addCopy(c, name, host)
}

// addCopy adds a file that must be there, and is there once however many programs need it.
func addCopy(c *cpioWriter, name, host string) error {
	if c.made[name] {
		return nil
	}
	data, err := os.ReadFile(host)
	if err != nil {
		return err
	}
	c.file(name, 0o755, data)
	c.made[name] = true
	return nil
}

// libraries lists a program's loader and the libraries that it finds, none for a static program.
func libraries(program string) (paths []string, err error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	section := f.Section(".interp")
	if section == nil {
		return nil, nil
	}
	data, err := section.Data()
	if err != nil {
		return nil, err
	}
	loader := strings.TrimRight(string(data), "\x00")
	out, err := exec.Command(loader, "--list", program).Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", loader, err)
	}
	return append([]string{loader}, listedLibraries(string(out))...), nil
}

// listedLibraries reads the loader's lines "NAME => PATH (ADDRESS)"; those without an arrow are the kernel's and the loader itself.
func listedLibraries(list string) (paths []string) {
	for line := range strings.Lines(list) {
		if _, found, ok := strings.Cut(line, " => "); ok {
			path, _, _ := strings.Cut(found, " (")
			paths = append(paths, path)
		}
	}
	return paths
}
