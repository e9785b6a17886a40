package main

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attributes prints what execve has kept: "policy", "ioprio", "machine", "mempolicy", "cpus".
func attributes(string) error {
	for _, show := range []func() error{policy, ioprio, machine, mempolicy, cpus} {
		if err := show(); err != nil {
			return err
		}
	}
	return nil
}

// policy asks about the first thread: what is reset on fork the others don't have, and Go may run this on any of them.
func policy() error {
	a, err := unix.SchedGetAttr(os.Getpid(), 0)
	if err != nil {
		return err
	}
	fmt.Println("policy", a.Policy, "flags", a.Flags)
	fmt.Println("nice", a.Nice, "priority", a.Priority)
	fmt.Println("times", a.Runtime, a.Deadline, a.Period)
	return nil
}

func ioprio() error {
	const whoProcess = 1
	r, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_GET, whoProcess, 0, 0)
	if errno != 0 {
		return errno
	}
	fmt.Println("ioprio", r>>13, r&7)
	return nil
}

func machine() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	fmt.Println("machine", unix.ByteSliceToString(u.Machine[:]))
	return nil
}

func mempolicy() error {
	var mode int32
	var nodes [16]uint64
	_, _, errno := unix.RawSyscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&mode)), uintptr(unsafe.Pointer(&nodes)), 1024, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	fmt.Printf("mempolicy %#x %#x\n", mode, nodes[0])
	return nil
}

func cpus() error {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			fmt.Println("cpus", strings.TrimSpace(list))
		}
	}
	return nil
}
