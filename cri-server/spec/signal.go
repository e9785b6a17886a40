package spec

import (
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	maxSignal = 64
	rtMin     = 34 // glibc's and musl's SIGRTMIN: the first two are taken by the threading library
	rtMax     = 64
)

// StopSignal returns the signal that asks a container to end: the client's, else the image's, else SIGTERM.
func StopSignal(c ContainerConfig, img Image) (syscall.Signal, error) {
	if c.StopSignal != 0 {
		return syscall.Signal(c.StopSignal), nil
	}
	if img.StopSignal == "" {
		return syscall.SIGTERM, nil
	}
	return ParseSignal(img.StopSignal)
}

// ParseSignal reads "SIGTERM", "term", "15", "SIGRTMIN+3" and "RTMAX-1".
func ParseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > maxSignal {
			return 0, errdefs.Invalid("signal %d is outside 1-%d", n, maxSignal)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := signalNumber(name); ok {
		return n, nil
	}
	if n, ok := realtime(name); ok {
		return n, nil
	}
	return 0, errdefs.Invalid("unknown signal %q", s)
}

func realtime(name string) (syscall.Signal, bool) {
	base, offset := rtMin, name
	switch {
	case strings.HasPrefix(name, "RTMIN"):
		offset = strings.TrimPrefix(name, "RTMIN")
	case strings.HasPrefix(name, "RTMAX"):
		base, offset = rtMax, strings.TrimPrefix(name, "RTMAX")
	default:
		return 0, false
	}
	if offset == "" {
		return syscall.Signal(base), true
	}
	n, err := strconv.Atoi(offset)
	if err != nil || (offset[0] != '+' && offset[0] != '-') || base+n < rtMin || base+n > rtMax {
		return 0, false
	}
	return syscall.Signal(base + n), true
}

// signalNumber is the table of asm-generic/signal.h, which amd64 and arm64 share.
func signalNumber(name string) (syscall.Signal, bool) {
	names := [...]string{
		1: "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
		"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
		"PWR", "SYS",
	}
	for i, n := range names {
		if n != "" && n == name {
			return syscall.Signal(i), true
		}
	}
	switch name {
	case "IOT":
		return syscall.SIGABRT, true
	case "POLL":
		return syscall.SIGIO, true
	case "CLD":
		return syscall.SIGCHLD, true
	}
	return 0, false
}
