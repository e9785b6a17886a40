package fork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The runtime keeps these three stable for programs that fork by themselves (runtime/proc.go names gVisor as one).

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// cloneArgs is struct clone_args of clone3(2), Linux 5.7.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// childCall is a call with its arguments resolved. Registers can only be read in the child.
type childCall struct {
	nr      uintptr
	arg     [maxArgs]uintptr
	reg     [maxArgs]uint16 // index of a call plus one; 0 is no register
	ignore  [maxIgnore]uint16
	step    uintptr // the step's text, for a reader who does not have the program
	stepLen uintptr
}

// childPlan is all that the child touches, but for what its calls point to. It is the beginning of an [image]; what it refers to
// by an offset is behind it.
type childPlan struct {
	clone   cloneArgs
	second  cloneArgs // of Builder.Clone
	calls   list      // of childCall
	results uintptr   // offset of a number for each call
	gaps    list      // of [2]uintptr: ranges of descriptors to close first
	errfd   uintptr
	gofd    uintptr   // where the go-ahead of checkpoints comes from
	pidns   uintptr   // PID namespace that a [Servers] process joins first, or 0
	answer  uint64    // what was read from gofd
	action  [4]uint64 // a zero struct sigaction: SIG_DFL
	mask    uint64    // an empty signal set
	nowhere *byte     // always nil
	report  report
	pidfd   int32 // of the child, written by the kernel

	inherits bool // the process that clones is the launcher itself, with handlers of signals and a timer slack of its own
}

// list is where a childPlan has its elements.
type list struct{ at, len uintptr }

// report is what a child writes to the pipe.
type report struct {
	kind  uint32
	call  uint32
	value uint32
}

// The kinds of reports, and what their value is.
const (
	reportFailed     = iota // the call failed and the child ends: the errno
	reportCloned            // the call made another child, which goes on, and this one ends: its PID
	reportCheckpoint        // the call is a checkpoint, and the child waits there: the checkpoint's value
	reportReleased          // the call is a release: nothing more will come this way
)

const (
	wordBytes      = unsafe.Sizeof(uintptr(0))
	gapBytes       = unsafe.Sizeof([2]uintptr{})
	planBytes      = unsafe.Sizeof(childPlan{})
	childCallBytes = unsafe.Sizeof(childCall{})

	reportBytes  = int(unsafe.Sizeof(report{}))
	signals      = 64
	sigsetBytes  = 8
	exitUnstarts = 127

	timerSlack = 50_000 // ns, the kernel's default

	// attempts is how often openat2 is tried: with RESOLVE_IN_ROOT or RESOLVE_BENEATH it gives up on ".." with EAGAIN when
	// anything is renamed or mounted anywhere meanwhile, and leaves the repetition to its caller (openat2(2)).
	attempts = 1000
)

// forkAndRun forks and, in the child, runs the plan; it returns in the parent only.
//
// After the clone the child is a single thread in a copy of a many-threaded process. It must not allocate, grow its
// stack, take a lock or be instrumented, so it calls nothing but [childPlan.run]; runtime_BeforeFork has blocked all signals and
// makes a growing stack fatal instead of silent.
//
//go:noinline
//go:norace
//go:nocheckptr
func forkAndRun(p *childPlan) (pid uintptr, errno syscall.Errno) {
	beforeFork()
	pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.clone)), unsafe.Sizeof(p.clone), 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
	p.run()
	return 0, 0
}

// run makes the calls of the plan, and does not return. It is one function over memory made before, that calls nothing but raw
// system calls, and that needs no more stack than there is: not even the goroutine that it runs on may be looked at.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func (p *childPlan) run() {
	var i, j, k, r, errfd uintptr
	var errno syscall.Errno
	var c *childCall
	var result *uintptr
	var gap *[2]uintptr
	var released bool
	errfd = p.errfd

	// Not dumpable: what enters a container must not be traced, nor its /proc/PID/exe opened, from there
	// (CVE-2019-5736). execve undoes it.
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0)
	if p.inherits {
		// Handlers end with execve, but ignored signals would stay ignored.
		for i = 1; i <= signals; i++ {
			syscall.RawSyscall6(unix.SYS_RT_SIGACTION, i, uintptr(unsafe.Pointer(&p.action)), 0, sigsetBytes, 0, 0)
		}
		// The launcher may have set a longer one for itself, which execve would keep.
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&p.mask)), 0, sigsetBytes, 0, 0)
	// Copies of other starts' pipes would delay their end-of-file until this child's execve.
	for i = 0; i < p.gaps.len; i++ {
		gap = (*[2]uintptr)(unsafe.Add(unsafe.Pointer(p), p.gaps.at+i*gapBytes))
		syscall.RawSyscall(unix.SYS_CLOSE_RANGE, gap[0], gap[1], 0)
	}

	//lint:ignore rangeint i is used after the loop, and the child gets no variable that the parent did not make
	for i = 0; i < p.calls.len; i++ {
		c = (*childCall)(unsafe.Add(unsafe.Pointer(p), p.calls.at+i*childCallBytes))
		result = (*uintptr)(unsafe.Add(unsafe.Pointer(p), p.results+i*wordBytes))
		//lint:ignore rangeint the child gets no variable that the parent did not make
		for j = 0; j < maxArgs; j++ {
			if c.reg[j] != 0 {
				c.arg[j] = *(*uintptr)(unsafe.Add(unsafe.Pointer(p), p.results+uintptr(c.reg[j]-1)*wordBytes))
			}
		}
		if c.nr >= opFirst {
			p.report.kind, p.report.call, p.report.value = uint32(c.nr-opFirst)+reportCheckpoint, uint32(i), uint32(c.arg[1])
			_, _, errno = syscall.RawSyscall(unix.SYS_WRITE, errfd, uintptr(unsafe.Pointer(&p.report)), unsafe.Sizeof(p.report))
			if errno != 0 {
				goto end // the launcher is gone
			}
			p.report.kind = reportFailed
			if c.nr == opRelease {
				errfd, released = c.arg[0], true
				continue
			}
			r, errno = 0, syscall.EINTR
			for errno == syscall.EINTR {
				r, _, errno = syscall.RawSyscall(unix.SYS_READ, p.gofd, uintptr(unsafe.Pointer(&p.answer)), 1)
			}
			if r != 1 {
				goto end
			}
			continue
		}
		for k = 0; k < attempts; k++ {
			r, _, errno = syscall.RawSyscall6(c.nr, c.arg[0], c.arg[1], c.arg[2], c.arg[3], c.arg[4], c.arg[5])
			if errno != syscall.EAGAIN || c.nr != unix.SYS_OPENAT2 {
				break
			}
		}
		if errno == 0 {
			if c.nr == unix.SYS_CLONE3 && r != 0 {
				p.report.kind, errno = reportCloned, syscall.Errno(r)
				break
			}
			*result = r
			continue
		}
		*result = ^uintptr(0)
		for k = 0; k < maxIgnore; k++ {
			if c.ignore[k] == uint16(errno) {
				break
			}
		}
		if k == maxIgnore {
			break
		}
	}
	p.report.call = uint32(i)
	p.report.value = uint32(errno)
	syscall.RawSyscall(unix.SYS_WRITE, errfd, uintptr(unsafe.Pointer(&p.report)), unsafe.Sizeof(p.report))
	if released && i < p.calls.len { // c is the call that failed
		syscall.RawSyscall(unix.SYS_WRITE, errfd, c.step, c.stepLen)
	}
end:
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, exitUnstarts, 0, 0)
		// A seccomp filter refuses even that. SIGSEGV, whose handler is gone, asks no filter.
		*p.nowhere = 0
	}
}
