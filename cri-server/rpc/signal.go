package rpc

import (
	"syscall"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRI numbers signals by name; Linux (amd64 and arm64 alike) by value. The real-time ones run in parallel from
// SIGRTMIN on, counted as the C library does: 34 is the first that is not its own.
const (
	criRTMin   = runtimeapi.Signal_SIGNAL_SIGRTMIN
	criRTMax   = runtimeapi.Signal_SIGNAL_SIGRTMAX
	linuxRTMin = 34
	linuxRTMax = 64
)

// linuxSignals is indexed by CRI's number, up to SIGXFSZ. Mapping by number and not by name holds across versions of
// the API: the names changed in v0.37.
func linuxSignals() []syscall.Signal {
	return []syscall.Signal{
		0, syscall.SIGABRT, syscall.SIGALRM, syscall.SIGBUS, syscall.SIGCHLD, syscall.SIGCHLD, syscall.SIGCONT,
		syscall.SIGFPE, syscall.SIGHUP, syscall.SIGILL, syscall.SIGINT, syscall.SIGIO, syscall.SIGABRT,
		syscall.SIGKILL, syscall.SIGPIPE, syscall.SIGIO, syscall.SIGPROF, syscall.SIGPWR, syscall.SIGQUIT,
		syscall.SIGSEGV, syscall.SIGSTKFLT, syscall.SIGSTOP, syscall.SIGSYS, syscall.SIGTERM, syscall.SIGTRAP,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGURG, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGVTALRM, syscall.SIGWINCH, syscall.SIGXCPU, syscall.SIGXFSZ,
	}
}

// signal returns the Linux number of a stop signal, 0 when the client leaves it to the image.
func (d *decoder) signal(field string, s runtimeapi.Signal) int32 {
	named := linuxSignals()
	switch {
	case s >= 0 && int(s) < len(named):
		return int32(named[s])
	case s >= criRTMin && s <= criRTMax:
		return int32(s-criRTMin) + linuxRTMin
	}
	d.fail(field, "unknown value %d", s)
	return 0
}

// encodeSignal is the way back; of two names of one signal it gives the first. What CRI has no name for becomes
// SIGNAL_RUNTIME_DEFAULT.
func encodeSignal(n int32) runtimeapi.Signal {
	if n >= linuxRTMin && n <= linuxRTMax {
		return runtimeapi.Signal(n-linuxRTMin) + criRTMin
	}
	for s, linux := range linuxSignals() {
		if int32(linux) == n {
			return runtimeapi.Signal(s)
		}
	}
	return runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT
}
