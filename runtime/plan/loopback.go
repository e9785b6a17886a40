package plan

import (
	"encoding/binary"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// loopback sets lo up in a network namespace that is made with the process, which gives it its addresses (netdevice(7)).
// The spec asks for nothing, but other runtimes do it and programs count on it. A socket of any kind will do; those of UNIX
// are on all kernels.
func (w *writer) loopback(p *Plan) {
	if (p.Flags|p.Inner)&syscall.CLONE_NEWNET == 0 {
		return
	}
	socket := w.b.Call("set lo up: make a socket", sys.NrSocket, fork.Imm(syscall.AF_UNIX), fork.Imm(syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC), fork.Imm(0))
	w.b.Call("set lo up", sys.NrIoctl, socket.Result(), fork.Imm(syscall.SIOCSIFFLAGS), w.b.Bytes(loopbackUp()))
}

// loopbackUp is a struct ifreq: a name of 16 bytes, flags, and room for what others put there.
func loopbackUp() []byte {
	request := make([]byte, 40)
	copy(request, "lo")
	binary.NativeEndian.PutUint16(request[16:], syscall.IFF_UP)
	return request
}
