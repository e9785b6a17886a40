package sys

import (
	"bytes"
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// progQueryAttr is the part of union bpf_attr that BPF_PROG_QUERY needs.
type progQueryAttr struct {
	target, attachType, queryFlags, attachFlags uint32
	ids                                         uint64
	count                                       uint32
	_                                           uint32
}

// objInfoAttr is the part of union bpf_attr that BPF_OBJ_GET_INFO_BY_FD needs.
type objInfoAttr struct {
	fd, size uint32
	info     uint64
}

// progInfo is the beginning of struct bpf_prog_info.
type progInfo struct {
	_    [64]byte
	name [16]byte
}

// maxAttached is the kernel's own limit for one group (BPF_CGROUP_MAX_PROGS).
const maxAttached = 64

// attachedFilter returns a descriptor of the device filter that AttachDeviceFilter has attached to the group itself, or
// -1 if there is none.
func attachedFilter(cgroup *Dir) (int, error) {
	var ids [maxAttached]uint32
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&ids)
	attr := progQueryAttr{
		target: uint32(cgroup.fd), attachType: unix.BPF_CGROUP_DEVICE, ids: address(unsafe.Pointer(&ids)), count: maxAttached,
	}
	_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(cgroup)
	if err != nil {
		return -1, err
	}
	for _, id := range ids[:min(attr.count, maxAttached)] {
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&[3]uint32{id}), unsafe.Sizeof([3]uint32{}))
		if errors.Is(err, unix.ENOENT) { // detached meanwhile
			continue
		}
		if err != nil {
			return -1, err
		}
		name, err := programName(fd)
		if err == nil && name == deviceFilter {
			return fd, nil
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return -1, err
		}
	}
	return -1, nil
}

func programName(fd int) (string, error) {
	info := new(progInfo)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(info)
	attr := objInfoAttr{fd: uint32(fd), size: uint32(unsafe.Sizeof(*info)), info: address(unsafe.Pointer(info))}
	if _, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return "", err
	}
	name, _, _ := bytes.Cut(info.name[:], []byte{0})
	return string(name), nil
}
