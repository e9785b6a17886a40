package main

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// Numbers of ptrace(2).
const (
	ptraceTraceExit = 0x40 // PTRACE_O_TRACEEXIT
	ptraceExit      = 6    // PTRACE_EVENT_EXIT
)

// tracedPeak runs a command on this thread to its end, and returns the most memory that it had resident. It stops the command as it
// exits, while it still has memory.
func tracedPeak(cmd *exec.Cmd) (peak int64, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	peak, err = peakAtExit(cmd.Process.Pid)
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	return peak, errors.Join(err, cmd.Wait())
}

// peakAtExit lets a traced process run until it exits.
func peakAtExit(pid int) (int64, error) {
	for first := true; ; first = false {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			return 0, fmt.Errorf("wait for traced process %d: %w", pid, err)
		}
		signal := 0
		switch {
		case !status.Stopped():
			return 0, fmt.Errorf("traced process %d ended unseen: status %#x", pid, status)
		case first: // its execve
			if err := syscall.PtraceSetOptions(pid, ptraceTraceExit); err != nil {
				return 0, fmt.Errorf("trace process %d: %w", pid, err)
			}
		case status.TrapCause() == ptraceExit:
			peak, err := processPeak(pid)
			return peak, errors.Join(err, syscall.PtraceDetach(pid))
		default:
			signal = int(status.StopSignal())
		}
		if err := syscall.PtraceCont(pid, signal); err != nil {
			return 0, fmt.Errorf("trace process %d: %w", pid, err)
		}
	}
}
