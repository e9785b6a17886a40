package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// step is one part of the suite.
type step struct {
	name    string
	command []string
	limit   time.Duration
	read    func(io.Reader) (counts, error) // reads the command's stdout
}

// blackBox are the packages of tests that drive built programs; they run as steps of their own, or in the virtual machine.
var blackBox = []string{"./test/e2e/...", "./test/crash/...", "./test/cni-conformance/...", "./test/conformance/groups"}

func steps() []step {
	return []step{
		{name: "lint", command: []string{"make", "-s", "lint"}, limit: 10 * time.Minute, read: readOne},
		{name: "cross", command: []string{"make", "-s", "cross"}, limit: 10 * time.Minute, read: readOne},
		goTest("unit", 25*time.Minute, []string{"-race", "-timeout=15m"}, unitPackages()...),
		goTest("cni-conformance", 10*time.Minute, []string{"-timeout=8m"}, "./test/cni-conformance/..."),
		goTest("e2e", 15*time.Minute, []string{"-timeout=12m"}, "./test/e2e/..."),
		goTest("crash", 15*time.Minute, []string{"-timeout=12m"}, "./test/crash/..."),
		{name: "conformance", command: []string{"make", "-s", "conformance"}, limit: 15 * time.Minute, read: readCounts},
		{name: "validation", command: []string{"make", "-s", "validation"}, limit: 10 * time.Minute, read: readCounts},
		{name: "vm", command: []string{"go", "run", "./test/vm"}, limit: 45 * time.Minute, read: readCounts},
	}
}

// goTest is a step of go tests. They run one package at a time where they start runtimes; the flag -p says so.
func goTest(name string, limit time.Duration, flags []string, packages ...string) step {
	command := append([]string{"go", "test", "-json", "-count=1"}, flags...)
	return step{name: name, command: append(command, packages...), limit: limit, read: readTests}
}

// unitPackages are all packages but the black-box tests.
func unitPackages() []string {
	out, err := exec.Command("go", append([]string{"list"}, blackBox...)...).Output()
	if err != nil {
		return []string{"./..."} // the go command will say what is wrong
	}
	all, err := exec.Command("go", "list", "./...").Output()
	if err != nil {
		return []string{"./..."}
	}
	return without(string(all), string(out))
}

// run runs the step's command. Its stderr goes to the terminal; a non-zero exit without a counted failure is one.
func (s step) run(ctx context.Context) counts {
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return failure(s.name, err)
	}
	if err := cmd.Start(); err != nil {
		return failure(s.name, err)
	}
	c, readErr := s.read(out)
	err = cmd.Wait()
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("took longer than %v, or was interrupted", s.limit))
	}
	if readErr != nil {
		c.add(failure(s.name, readErr))
	}
	if err != nil && c.failed == 0 {
		c.add(failure(s.name, err))
	}
	return c
}

func failure(name string, err error) counts {
	fmt.Printf("FAILED: %s: %v\n", name, err)
	return counts{failed: 1, broken: []string{fmt.Sprintf("%s: %v", name, err)}}
}
