package testutil

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// envInner marks the second start of a test binary, which runs the tests.
const envInner = "BERTH_TEST_NAMESPACES"

// Main runs the tests of a package in namespaces of their own and exits; a leak makes the exit status 1. Without root the
// tests run where they are, and only what belongs to the process is checked.
func Main(m *testing.M) {
	switch {
	case isFuzzWorker():
		os.Exit(m.Run()) // killed by its coordinator at any time: nothing to check
	case os.Getenv(envInner) != "" || os.Geteuid() != 0:
		os.Exit(runChecked(m))
	default:
		os.Exit(runOuter())
	}
}

// Isolate runs a program's work as [Main] runs tests: in a second process in new namespaces, whose lost processes, temporary
// files and cgroups make the exit status 1. It needs root.
func Isolate(work func() int) int {
	switch {
	case os.Geteuid() != 0:
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+": needs root, to make namespaces")
		return 1
	case os.Getenv(envInner) == "":
		return runOuter()
	}
	if err := enterInner(); err != nil {
		fmt.Fprintln(os.Stderr, "testutil:", err)
		return 1
	}
	return work()
}

func isFuzzWorker() bool {
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(strings.TrimLeft(arg, "-"), "test.fuzzworker") {
			return true
		}
	}
	return false
}

// runChecked runs the tests and compares what the process and its namespaces hold before and after.
func runChecked(m *testing.M) int {
	if os.Getenv(envInner) != "" {
		if err := enterInner(); err != nil {
			fmt.Fprintln(os.Stderr, "testutil:", err)
			return 1
		}
	}
	before, err := takeInventory()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testutil: take inventory before the tests:", err)
		return 1
	}
	code := m.Run()
	leaks, err := settle(before)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testutil: take inventory after the tests:", err)
		return 1
	}
	for _, leak := range leaks {
		fmt.Fprintln(os.Stderr, "LEAK:", leak)
	}
	if len(leaks) > 0 && code == 0 {
		return 1
	}
	return code
}

// enterInner finishes the namespaces that runOuter made: nothing propagates out, loopback is up.
func enterInner() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	return LoopbackUp()
}

// runOuter starts the binary again in new namespaces and waits. As sub-reaper it inherits every process that the tests
// lose, so that none can hide, and reaps those that end, as the init of a machine does.
func runOuter() int {
	code, err := outer()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testutil:", err)
		return 1
	}
	return code
}

func outer() (code int, err error) {
	runtime.LockOSThread() // Pdeathsig fires when the thread ends that started the child
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0); errno != 0 {
		return 1, fmt.Errorf("become a sub-reaper: %w", errno)
	}
	tmp, err := os.MkdirTemp("", "bt-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The race detector brings a C library along; for the tunable see fork.Servers.
	cmd.Env = append(os.Environ(), "GLIBC_TUNABLES=glibc.pthread.rseq=0", envInner+"=1", "TMPDIR="+tmp, fmt.Sprintf("%s=/berth-test-%d", envCgroup, os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: uintptr(Mount | Net | IPC | UTS), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start the tests in new namespaces: %w", err)
	}
	stop := forwardSignals(cmd.Process)
	code, err = reapUntil(cmd.Process.Pid)
	stop()
	if err != nil {
		return 1, fmt.Errorf("wait for the tests: %w", err)
	}
	leaks, err := outerLeaks(tmp, fmt.Sprintf("berth-test-%d", os.Getpid()))
	for _, leak := range leaks {
		fmt.Fprintln(os.Stderr, "LEAK:", leak)
	}
	if len(leaks) > 0 && code == 0 {
		code = 1
	}
	return code, err
}

// reapUntil reaps children until the one with the given id has ended, and returns its exit code, 2 if a signal ended it.
func reapUntil(pid int) (code int, err error) {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, err
		case ended != pid:
		case status.Exited():
			return status.ExitStatus(), nil
		case status.Signaled():
			return 2, nil
		}
	}
}

// forwardSignals passes what go test and a terminal send to the tests; stop ends that.
func forwardSignals(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range signals {
			// An error means that the tests have ended, which Wait reports.
			_ = p.Signal(s)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// prSetChildSubreaper is PR_SET_CHILD_SUBREAPER of prctl(2), Linux 3.4.
const prSetChildSubreaper = 36
