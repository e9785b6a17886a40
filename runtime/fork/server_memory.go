package fork

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	serverPlanBytes = (unsafe.Sizeof(serverPlan{}) + 63) &^ 63
	serverBytes     = (int(serverPlanBytes) + maxImage + largePage - 1) &^ (largePage - 1) // whole pages
)

// newServerPlan writes a plan at the beginning of memory.
func newServerPlan(memory []byte, socket, pidns int) (*serverPlan, error) {
	s := (*serverPlan)(unsafe.Pointer(&memory[0]))
	address := func(p unsafe.Pointer) uintptr { return uintptr(p) }
	*s = serverPlan{
		clone:  cloneArgs{flags: unix.CLONE_PIDFD, exitSignal: uint64(unix.SIGCHLD), pidfd: uint64(address(unsafe.Pointer(&s.pidfd)))},
		socket: uintptr(socket), pidns: uintptr(pidns), page: uintptr(os.Getpagesize()), mask: ^uint64(0),
		data:    vector{address(unsafe.Pointer(s)) + serverPlanBytes, maxImage},
		verdict: vector{address(unsafe.Pointer(&s.answer)), unsafe.Sizeof(s.answer)},
		request: message{vector: address(unsafe.Pointer(&s.data)), vectors: 1, control: address(unsafe.Pointer(&s.passed))},
		reply:   message{vector: address(unsafe.Pointer(&s.verdict)), vectors: 1, control: address(unsafe.Pointer(&s.returned))},
	}
	copy(s.name[:], "berth-fork")
	h := (*unix.Cmsghdr)(unsafe.Pointer(&s.returned))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4))
	from := address(unsafe.Pointer(s))
	holes, err := holes([2]uintptr{from, from + uintptr(len(memory))})
	s.holes = holes
	return s, err
}

// holes are what a server process unmaps: all but its code and the given memory. It leaves its stack alone by itself.
func holes(memory [2]uintptr) (list [maxHoles][2]uintptr, err error) {
	code, top, err := readMaps(reflect.ValueOf(forkServer).Pointer())
	if err != nil {
		return list, err
	}
	if code[0] > memory[0] {
		code, memory = memory, code
	}
	list[0] = [2]uintptr{0, code[0]}
	list[1] = [2]uintptr{code[1], memory[0]}
	list[2] = [2]uintptr{memory[1], top}
	return list, nil
}

// readMaps returns the read-only mappings of the program around the code at an address, and the end of the last mapping
// (proc_pid_maps(5)).
func readMaps(pc uintptr) (code [2]uintptr, top uintptr, err error) {
	data, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return code, 0, err
	}
	var file string // that code is of
	for line := range strings.Lines(string(data)) {
		var from, to uintptr
		var mode, offset, device, inode string
		if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %s", &from, &to, &mode, &offset, &device, &inode); err != nil {
			return code, 0, fmt.Errorf("read /proc/self/maps: %q: %w", line, err)
		}
		if strings.HasSuffix(line, "[vsyscall]\n") { // the kernel's
			continue
		}
		top = max(top, to)
		if strings.Contains(mode, "w") {
			continue
		}
		if from == code[1] && device+inode == file {
			code[1] = to
		} else if code[1] <= pc {
			code, file = [2]uintptr{from, to}, device+inode
		}
	}
	if pc < code[0] || pc >= code[1] {
		return code, 0, errdefs.Bug("the own code is not in /proc/self/maps")
	}
	return code, top, nil
}
