package fork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors of a server process, beside 0, 1 and 2.
const (
	serverSocket = 3
	serverPIDNS  = 4 // its own PID namespace
	serverFirst  = 5 // of the files that come with a request, one after another
)

const (
	maxImage  = 128 << 10 // bytes of a plan that a server takes, less than a socket's buffer (net.core.wmem_default)
	maxPassed = 253       // files (SCM_MAX_FD)
	maxHoles  = 4

	controlHeader = 16 // struct cmsghdr
	passedBytes   = controlHeader + 4*maxPassed

	areaBytes, areaUnregister, areaSignature = 32, 1, 0x53053053

	// Of the stack that a server process is made on it keeps these many bytes on either side, and what is on the same pages. What
	// it calls takes at most 800 bytes, as the linker verifies (go:nosplit).
	stackBelow, stackAbove = 4 << 10, 2 << 10
	largePage              = 64 << 10 // no architecture has larger ones
)

// serverPlan is what a server process works with. It lies at the beginning of the memory that the process keeps; requests are
// received behind it.
type serverPlan struct {
	clone    cloneArgs
	pidfd    int32
	socket   uintptr // where its descriptors were in its parent
	pidns    uintptr
	page     uintptr              // bytes
	holes    [maxHoles][2]uintptr // memory to drop
	action   [4]uint64            // SIG_DFL
	mask     uint64               // all signals
	area     [8]uint64            // 32 bytes at a multiple of 32
	name     [16]byte
	request  message
	data     vector
	passed   [passedBytes/4 + 1]uint32
	reply    message
	verdict  vector
	answer   serverAnswer
	returned [controlHeader/4 + 2]uint32
}

// message is struct msghdr, vector struct iovec, on 64-bit machines.
type (
	message struct {
		name        uintptr
		nameLen     uint64
		vector      uintptr
		vectors     uintptr
		control     uintptr
		controlSize uint64
		flags       uint64
	}
	vector struct{ base, size uintptr }
)

// serverAnswer is what a server says to a request. The child's pidfd comes with it.
type serverAnswer struct {
	pid   int32
	stage uint32 // what failed
	errno uint32
}

// The stages of a request.
const (
	stageReceive = iota // files got lost
	stageJoin
	stageClone
)

// forkServer forks a server process; it returns in the parent only.
//
//go:noinline
//go:norace
//go:nocheckptr
func forkServer(s *serverPlan) (pid uintptr, errno syscall.Errno) {
	beforeFork()
	pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&s.clone)), unsafe.Sizeof(s.clone), 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
	s.settle()
	return 0, 0
}

// settle makes a server process of a copy of its parent: without its handlers, descriptors and memory. It does not return. For the
// rules see [childPlan.run].
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func (s *serverPlan) settle() {
	var here, i, low, high, area uintptr
	var errno syscall.Errno
	// A C library's threads have memory that the kernel writes to whenever they run (rseq(2)), and nobody can take that back who
	// does not know where it is. A thread that has none gets one here, for a moment.
	area = (uintptr(unsafe.Pointer(&s.area)) + areaBytes - 1) &^ (areaBytes - 1)
	_, _, errno = syscall.RawSyscall6(unix.SYS_RSEQ, area, areaBytes, 0, areaSignature, 0, 0)
	if errno == 0 {
		_, _, errno = syscall.RawSyscall6(unix.SYS_RSEQ, area, areaBytes, areaUnregister, areaSignature, 0, 0)
	}
	if errno != 0 && errno != syscall.ENOSYS {
		end()
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&s.mask)), 0, sigsetBytes, 0, 0)
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&s.name)), 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0, 0)
	for i = 1; i <= signals; i++ {
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, i, uintptr(unsafe.Pointer(&s.action)), 0, sigsetBytes, 0, 0)
	}
	syscall.RawSyscall(unix.SYS_DUP3, s.socket, serverSocket, 0) // both were serverFirst or higher
	syscall.RawSyscall(unix.SYS_DUP3, s.pidns, serverPIDNS, 0)
	syscall.RawSyscall(unix.SYS_CLOSE_RANGE, serverFirst, uintptr(^uint32(0)), 0)

	low = (uintptr(unsafe.Pointer(&here)) - stackBelow) &^ (s.page - 1)
	high = (uintptr(unsafe.Pointer(&here)) + stackAbove + s.page - 1) &^ (s.page - 1)
	for i = range uintptr(maxHoles) {
		s.drop(s.holes[i][0], min(s.holes[i][1], low))
		s.drop(max(s.holes[i][0], high), s.holes[i][1])
	}
	// An answer to no request says that all is well so far.
	syscall.RawSyscall(unix.SYS_SENDMSG, serverSocket, uintptr(unsafe.Pointer(&s.reply)), unix.MSG_NOSIGNAL)
	s.serve()
}

// end ends the process.
//
//go:nosplit
//go:norace
//go:nocheckptr
func end() {
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// drop unmaps memory.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (s *serverPlan) drop(from, to uintptr) {
	if from < to {
		syscall.RawSyscall(unix.SYS_MUNMAP, from, to-from, 0)
	}
}

// serve clones for one request after another, until the launcher is gone.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func (s *serverPlan) serve() {
	var n, pid uintptr
	var errno syscall.Errno
	p := (*childPlan)(unsafe.Add(unsafe.Pointer(s), serverPlanBytes))
	for {
		s.request.controlSize = passedBytes
		n, _, errno = syscall.RawSyscall(unix.SYS_RECVMSG, serverSocket, uintptr(unsafe.Pointer(&s.request)), unix.MSG_CMSG_CLOEXEC)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n < planBytes {
			break
		}
		pid = 0
		s.answer.stage, errno = stageReceive, syscall.EMFILE
		if s.request.flags&unix.MSG_CTRUNC == 0 && s.passed[controlHeader/4] == serverFirst {
			s.answer.stage, errno = stageJoin, 0
			if p.pidns != 0 {
				_, _, errno = syscall.RawSyscall(unix.SYS_SETNS, p.pidns, unix.CLONE_NEWPID, 0)
			}
			if errno == 0 {
				s.answer.stage = stageClone
				pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.clone)), unsafe.Sizeof(p.clone), 0)
				if errno == 0 && pid == 0 {
					p.run()
				}
			}
		}
		s.answer.pid, s.answer.errno = int32(pid), uint32(errno)
		s.reply.controlSize = 0
		if errno == 0 {
			s.reply.controlSize = uint64(unsafe.Sizeof(s.returned))
			s.returned[controlHeader/4] = uint32(p.pidfd)
		}
		_, _, errno = syscall.RawSyscall(unix.SYS_SENDMSG, serverSocket, uintptr(unsafe.Pointer(&s.reply)), unix.MSG_NOSIGNAL)
		if errno != 0 {
			break
		}
		if p.pidns != 0 {
			if _, _, errno = syscall.RawSyscall(unix.SYS_SETNS, serverPIDNS, unix.CLONE_NEWPID, 0); errno != 0 {
				break // the next child would be born in the wrong one
			}
		}
		syscall.RawSyscall(unix.SYS_CLOSE_RANGE, serverFirst, uintptr(^uint32(0)), 0)
	}
	end()
}
