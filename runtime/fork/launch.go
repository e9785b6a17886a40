package fork

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch forks, by a server where there is one.
func launch(p *Program, o Options, ends pipeEnds) (Child, error) {
	child, done, err := o.Servers.launch(p, o, ends)
	if done || err != nil {
		return child, err
	}
	files := &own{}
	n, err := p.number(o, ends, files.fd)
	if err != nil {
		return Child{}, errors.Join(err, files.close())
	}
	img, err := newImage(p, o, n, 0)
	if err != nil {
		return Child{}, errors.Join(err, files.close())
	}
	pid, err := forkInto(img.plan(), o.PIDNS)
	if err != nil {
		return Child{}, errors.Join(err, files.close())
	}
	child = Child{PID: int(pid), Pidfd: os.NewFile(uintptr(img.plan().pidfd), "pidfd")}
	if err := files.close(); err != nil {
		return Child{}, errors.Join(fmt.Errorf("start process: %w", err), kill(child), child.Pidfd.Close())
	}
	return child, nil
}

// forkInto forks. A child that is to be born in another PID namespace needs a thread that has joined it for its children
// (setns(2)); that thread joins its own again afterwards, and is any thread then.
func forkInto(plan *childPlan, pidns *os.File) (pid uintptr, err error) {
	if pidns == nil {
		return fork(plan)
	}
	target, err := rawFD(pidns)
	if err != nil {
		return 0, fmt.Errorf("start process: PID namespace: %w", err)
	}
	own, err := unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("start process: open the own PID namespace: %w", err)
	}
	type result struct {
		pid uintptr
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		if errno := joinPIDNS(target); errno != 0 {
			runtime.UnlockOSThread() // nothing has changed
			done <- result{0, &StepError{"join the PID namespace", errno}}
			return
		}
		pid, err := fork(plan)
		if errno := joinPIDNS(own); errno == 0 {
			runtime.UnlockOSThread()
		} // else the thread ends here, with the goroutine that is locked to it
		done <- result{pid, err}
	}()
	r := <-done
	runtime.KeepAlive(pidns)
	_ = unix.Close(own) // nothing was written to it, and there is a child by now
	return r.pid, r.err
}

func fork(plan *childPlan) (uintptr, error) {
	pid, errno := forkAndRun(plan)
	if errno != 0 {
		return 0, &StepError{"clone a process", errno}
	}
	return pid, nil
}

func joinPIDNS(fd int) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_SETNS, uintptr(fd), unix.CLONE_NEWPID, 0)
	return errno
}
