package fork

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Servers are processes that clone in place of this one, which then stays the parent (CLONE_PARENT). They have next to no memory, so
// that neither the kernel copies the page tables of a Go program for each child nor each page of it that is written to
// afterwards; and next to no files.
//
// They are made when they are first needed, and end with this process. Where none can help the process clones by itself; in
// programs with cgo none can, unless the C library is told not to use restartable sequences (GLIBC_TUNABLES=glibc.pthread.rseq=0).
type Servers struct {
	idle chan *server // cap: how many there are
}

// server is one of them, seen from outside.
type server struct {
	socket int // noSocket: there is no process
	pidfd  int
	base   uintptr // of requests, in its memory
	never  bool    // this program can't have any
}

const noSocket = -1

// NewServers returns n servers, of which none runs.
func NewServers(n int) *Servers {
	s := &Servers{idle: make(chan *server, n)}
	for range n {
		s.idle <- &server{socket: noSocket}
	}
	return s
}

// Close ends those that run and waits for their ends. A start after that makes new ones.
func (s *Servers) Close() error {
	var errs []error
	all := make([]*server, cap(s.idle))
	for i := range all {
		all[i] = <-s.idle // which may be at work for a moment
		errs = append(errs, all[i].stop())
	}
	for _, sv := range all {
		s.idle <- sv
	}
	return errors.Join(errs...)
}

// take returns a server that nobody else uses, nil if there is none; it must be given back.
func (s *Servers) take() *server {
	if s == nil {
		return nil
	}
	select {
	case sv := <-s.idle:
		return sv
	default:
		return nil
	}
}

// launch makes a server clone. done is false if it did not.
func (s *Servers) launch(p *Program, o Options, ends pipeEnds) (child Child, done bool, err error) {
	sv := s.take()
	if sv == nil {
		return Child{}, false, nil
	}
	defer func() { s.idle <- sv }()
	if sv.socket == noSocket {
		if sv.never || sv.spawn() != nil {
			return Child{}, false, nil // nor will the next attempt, which the caller makes, if there is a reason
		}
	}
	files := &passing{}
	n, err := p.number(o, ends, files.fd)
	if err == nil && o.PIDNS != nil {
		n.pidns, err = files.fd(o.PIDNS)
	}
	if err != nil {
		return Child{}, true, err
	}
	img, err := newImage(p, o, n, sv.base)
	if err != nil {
		return Child{}, true, err
	}
	if len(files.fds) > maxPassed || len(img.bytes()) > maxImage {
		return Child{}, false, nil
	}
	img.plan().clone.flags |= unix.CLONE_PARENT
	img.plan().clone.exitSignal = 0 // the server's own, SIGCHLD
	if err := sv.send(img.bytes(), files.fds); err != nil {
		return Child{}, false, sv.stop()
	}
	child, err = sv.receive()
	if errors.Is(err, errdefs.ErrUnavailable) {
		err = errors.Join(err, sv.stop())
	}
	return child, true, err
}

// passing numbers files as a server receives them.
type passing struct{ fds []int }

func (w *passing) fd(f *os.File) (int, error) {
	fd, err := rawFD(f)
	w.fds = append(w.fds, fd)
	return serverFirst + len(w.fds) - 1, err
}

func (sv *server) send(request []byte, fds []int) error {
	for {
		err := unix.Sendmsg(sv.socket, request, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// receive waits for the answer to a request. An error of kind errdefs.ErrUnavailable means that the server has ended, and perhaps left
// a child that nobody knows of.
func (sv *server) receive() (Child, error) {
	answer, pidfd, err := sv.answer()
	errno := unix.Errno(answer.errno)
	switch {
	case err != nil:
		return Child{}, err
	case errno == 0 && pidfd < 0:
		return Child{}, errors.Join(errdefs.New(errdefs.ErrExhausted, "clone a process: no room for its pidfd"), killPID(int(answer.pid)))
	case errno == 0:
		return Child{PID: int(answer.pid), Pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
	case answer.stage == stageJoin:
		return Child{}, &StepError{"join the PID namespace", errno}
	case answer.stage == stageClone:
		return Child{}, &StepError{"clone a process", errno}
	default:
		return Child{}, &StepError{"pass files to the process that clones", errno}
	}
}

// answer reads an answer; pidfd is -1 if there is none.
func (sv *server) answer() (answer serverAnswer, pidfd int, err error) {
	data := unsafe.Slice((*byte)(unsafe.Pointer(&answer)), unsafe.Sizeof(answer))
	control := make([]byte, unix.CmsgSpace(4))
	n, size := 0, 0
	err = unix.EINTR
	for err == unix.EINTR {
		n, size, _, _, err = unix.Recvmsg(sv.socket, data, control, unix.MSG_CMSG_CLOEXEC)
	}
	if err == nil && n != len(data) {
		err = unix.ECONNRESET
	}
	if err != nil {
		return answer, -1, errdefs.Unavailable("clone a process: the process that does it has ended: %w", err)
	}
	return answer, firstFile(control[:size]), nil
}

// firstFile returns the only descriptor of a control message, -1 if there is none.
func firstFile(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	return fds[0]
}

// stop ends the process, if there is one.
func (sv *server) stop() error {
	if sv.socket == noSocket {
		return nil
	}
	err := unix.Close(sv.socket) // after which it reads an end, unless it is stuck
	sv.socket = noSocket
	if killErr := unix.PidfdSendSignal(sv.pidfd, unix.SIGKILL, nil, 0); killErr != unix.ESRCH {
		err = errors.Join(err, killErr)
	}
	return errors.Join(err, waitPidfd(sv.pidfd), unix.Close(sv.pidfd))
}

// spawn makes the process.
func (sv *server) spawn() (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket pair: %w", err)
	}
	theirs, err := above(fds[1])
	if err != nil {
		return errors.Join(err, unix.Close(fds[0]))
	}
	cu.Add(func() error { return unix.Close(fds[0]) })
	closeTheirs := sync.OnceValue(func() error { return unix.Close(theirs) })
	defer func() { err = errors.Join(err, closeTheirs()) }()
	pidns, err := unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the own PID namespace: %w", err)
	}
	if pidns, err = above(pidns); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(pidns)) }()
	memory, err := unix.Mmap(-1, 0, serverBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map memory: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(memory)) }()
	plan, err := newServerPlan(memory, theirs, pidns)
	if err != nil {
		return err
	}
	if _, errno := forkServer(plan); errno != 0 {
		return &StepError{"clone a server process", errno}
	}
	cu.Release()
	sv.socket, sv.pidfd, sv.base = fds[0], int(plan.pidfd), uintptr(unsafe.Pointer(plan))+serverPlanBytes
	// Else the end of the process would not be seen.
	if err := closeTheirs(); err != nil {
		return errors.Join(err, sv.stop())
	}
	return sv.ready()
}

// ready waits until the process has said so. One that ends instead is not made again.
func (sv *server) ready() error {
	_, _, err := sv.answer()
	if err == nil {
		return nil
	}
	sv.never = true
	return errors.Join(err, sv.stop())
}

// above moves a descriptor to where a server's own are not.
func above(fd int) (int, error) {
	if fd >= serverFirst {
		return fd, nil
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, serverFirst)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return -1, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	return dup, nil
}
