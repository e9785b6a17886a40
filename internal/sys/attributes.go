package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Numbers of the system calls that set what a process takes along through execve.
const (
	NrFsetxattr        = unix.SYS_FSETXATTR
	NrIoprioSet        = unix.SYS_IOPRIO_SET
	NrPersonality      = unix.SYS_PERSONALITY
	NrSchedSetaffinity = unix.SYS_SCHED_SETAFFINITY
	NrSchedSetattr     = unix.SYS_SCHED_SETATTR
	NrSetMempolicy     = unix.SYS_SET_MEMPOLICY
)

// SchedAttr is what sched_setattr(2) sets. The times are in nanoseconds.
type SchedAttr struct {
	Policy                    uint32
	Flags                     uint64
	Nice                      int32
	Priority                  uint32
	Runtime, Deadline, Period uint64
}

// Bytes returns struct sched_attr with the clamps of Linux 5.3, both 0.
func (a SchedAttr) Bytes() []byte {
	p := binary.NativeEndian.AppendUint32(nil, unix.SizeofSchedAttr)
	p = binary.NativeEndian.AppendUint32(p, a.Policy)
	p = binary.NativeEndian.AppendUint64(p, a.Flags)
	p = binary.NativeEndian.AppendUint32(p, uint32(a.Nice))
	p = binary.NativeEndian.AppendUint32(p, a.Priority)
	p = append(p, words(a.Runtime, a.Deadline, a.Period)...)
	return append(p, make([]byte, unix.SizeofSchedAttr-len(p))...)
}

// Bitmap returns a mask of unsigned longs with the bit of every number in the list set, as sched_setaffinity(2) and
// set_mempolicy(2) take it. The mask has a bit for each number below limit, which is a multiple of 64.
func Bitmap(numbers []int, limit int) []byte {
	mask := make([]uint64, limit/64)
	for _, n := range numbers {
		mask[n/64] |= 1 << (n % 64)
	}
	return words(mask...)
}
