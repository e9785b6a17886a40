package fork_test

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/fork"
)

// filter has the child load a seccomp filter that refuses all calls but one, with EPERM.
func filter(b *fork.Builder, allowed uint32) {
	var code []byte
	for _, i := range []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: allowed},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},                      // SECCOMP_RET_ALLOW
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.EPERM)}, // SECCOMP_RET_ERRNO
	} {
		code = binary.NativeEndian.AppendUint16(code, i.Code)
		code = append(code, i.Jt, i.Jf)
		code = binary.NativeEndian.AppendUint32(code, i.K)
	}
	prog := binary.NativeEndian.AppendUint16(nil, 4) // struct sock_fprog
	prog = append(prog, make([]byte, 14)...)
	b.Call("load the filter", unix.SYS_SECCOMP, fork.Imm(unix.SECCOMP_SET_MODE_FILTER), fork.Imm(0), b.Struct(prog, map[int]fork.Arg{8: b.Bytes(code)}))
}

// TestChildThatMayNotExit has filters that refuse even exit_group: the child ends nevertheless, and nobody waits for it for ever.
func TestChildThatMayNotExit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		allowed uint32
		want    error // of Start; nil: the child counts as started
	}{
		{"nor report", 0xffff, nil},
		{"but report", unix.SYS_WRITE, &fork.StepError{Step: "execute /bin/true", Errno: unix.EPERM}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := fork.NewBuilder()
			filter(b, tt.allowed)
			b.Call("execute /bin/true", unix.SYS_EXECVE, b.Str("/bin/true"), b.Argv([]string{"true"}), b.Argv(nil))
			files, _ := stdio(t)
			var endless atomic.Bool
			c, err := fork.Start(program(t, b), fork.Options{Stdio: files, Forked: func(c fork.Child) error {
				late := time.AfterFunc(20*time.Second, func() { // so that the test ends at all
					endless.Store(true)
					_ = syscall.Kill(c.PID, syscall.SIGKILL)
				})
				t.Cleanup(func() { late.Stop() })
				return nil
			}})
			if tt.want != nil {
				var step *fork.StepError
				if !errors.As(err, &step) || step.Error() != tt.want.Error() {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			} else if err != nil {
				t.Error(err)
			} else if status := end(t, c); status != int(syscall.SIGSEGV) {
				t.Errorf("status %d, want signal %d", status, syscall.SIGSEGV)
			}
			if endless.Load() {
				t.Error("the child did not end")
			}
		})
	}
}
