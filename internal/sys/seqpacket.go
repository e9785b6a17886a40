package sys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MaxPacketFiles is how many files one packet carries (SCM_MAX_FD).
const MaxPacketFiles = 253

// backlog is how many connections wait while nobody accepts.
const backlog = 128

// Seqpacket is a unix socket that keeps the borders of messages. One goroutine may receive while others send; Close ends
// both with os.ErrClosed.
type Seqpacket struct {
	file *os.File
	raw  syscall.RawConn
}

// ListenSeqpacket makes a socket at path, of mode 0600 before anyone can connect. The path must not exist, and may be
// longer than the 107 bytes of a socket address, if its last element is not.
func ListenSeqpacket(path string) (*Seqpacket, error) {
	return openSeqpacket(path, func(fd int, addr unix.Sockaddr) error {
		if err := unix.Bind(fd, addr); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return unix.Listen(fd, backlog)
	})
}

// DialSeqpacket connects to the socket at path.
func DialSeqpacket(path string) (*Seqpacket, error) {
	return openSeqpacket(path, func(fd int, addr unix.Sockaddr) error {
		return retry(func() error { return unix.Connect(fd, addr) })
	})
}

func openSeqpacket(path string, use func(fd int, addr unix.Sockaddr) error) (*Seqpacket, error) {
	dir, err := OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close() // read-only: nothing can be lost
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := use(fd, &unix.SockaddrUnix{Name: dir.Path() + "/" + filepath.Base(path)}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return newSeqpacket(fd, path)
}

func newSeqpacket(fd int, name string) (*Seqpacket, error) {
	file := os.NewFile(uintptr(fd), name)
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Seqpacket{file: file, raw: raw}, nil
}

// Accept waits for a connection to a listening socket.
func (s *Seqpacket) Accept() (*Seqpacket, error) {
	fd := -1
	err := s.wait(s.raw.Read, func(listen int) (err error) {
		fd, _, err = unix.Accept4(listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return err
	})
	if err != nil {
		return nil, err
	}
	return newSeqpacket(fd, s.file.Name())
}

// InheritSeqpacket takes over a socket that this process was before an execve, listening or connected.
func InheritSeqpacket(r Raw, name string) (*Seqpacket, error) { return newSeqpacket(int(r), name) }

// Number returns the descriptor, which is good until Close.
func (s *Seqpacket) Number() (Raw, error) { return Number(s.file) }

// InterruptReceive ends a Receive or Accept that waits, and all later ones, with os.ErrDeadlineExceeded; false lets them wait
// again. Nothing is lost by it.
func (s *Seqpacket) InterruptReceive(on bool) error { return s.file.SetReadDeadline(deadline(on)) }

// InterruptSend does that to Send. A packet that was refused so has not been sent.
func (s *Seqpacket) InterruptSend(on bool) error { return s.file.SetWriteDeadline(deadline(on)) }

func deadline(past bool) time.Time {
	if past {
		return time.Unix(1, 0)
	}
	return time.Time{}
}

// PeerPID returns the process that connected or, on the connecting side, that listened.
func (s *Seqpacket) PeerPID() (int, error) {
	var pid int32
	err := withFd(s.file, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			pid = cred.Pid
		}
		return err
	})
	return int(pid), err
}

// PeerUID returns the user who connected.
func (s *Seqpacket) PeerUID() (uint32, error) {
	var uid uint32
	err := withFd(s.file, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			uid = cred.Uid
		}
		return err
	})
	return uid, err
}

// Send sends one packet with at most MaxPacketFiles descriptors, which stay the caller's. It waits while the socket's
// buffer is full.
func (s *Seqpacket) Send(data []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	return s.wait(s.raw.Write, func(fd int) error {
		return unix.Sendmsg(fd, data, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	})
}

// PacketBuffer returns the size of a buffer that receives packets of up to n bytes.
func PacketBuffer(n int) int { return n + unix.CmsgSpace(4*MaxPacketFiles) }

// Packet is what has arrived. Its files belong to the receiver.
type Packet struct {
	Data  []byte
	Files []Raw
	Lost  bool // files came along for which this process has no room (RLIMIT_NOFILE); none is in Files
}

// Receive waits for one packet and calls use with it, inside a call of lend, which provides a buffer (see
// [PacketBuffer]) for that long: a waiting connection holds none. It returns io.EOF when the other end has closed.
func (s *Seqpacket) Receive(lend func(func(buf []byte)), use func(Packet) error) error {
	var useErr error
	err := s.wait(s.raw.Read, func(fd int) (err error) {
		lend(func(buf []byte) {
			data, oob := buf[:len(buf)-PacketBuffer(0)], buf[len(buf)-PacketBuffer(0):]
			var n, oobn, flags int
			n, oobn, flags, _, err = unix.Recvmsg(fd, data, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			if err == nil {
				useErr = usePacket(data[:n], oob[:oobn], flags, use)
			}
		})
		return err
	})
	if err != nil {
		return err
	}
	return useErr
}

func usePacket(data, oob []byte, flags int, use func(Packet) error) error {
	files, err := parseFiles(oob)
	if err != nil {
		return err
	}
	if flags&unix.MSG_TRUNC != 0 {
		return errors.Join(fmt.Errorf("packet of more than %d bytes", len(data)), CloseRaw(files))
	}
	if flags&unix.MSG_CTRUNC != 0 { // the buffer has room for all that a packet can carry
		if err := CloseRaw(files); err != nil {
			return err
		}
		return use(Packet{Data: data, Lost: true})
	}
	if len(data) == 0 && len(files) == 0 {
		return io.EOF
	}
	return use(Packet{Data: data, Files: files})
}

func parseFiles(oob []byte) ([]Raw, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []Raw
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, errors.Join(err, CloseRaw(files))
		}
		for _, fd := range fds {
			files = append(files, Raw(fd))
		}
	}
	return files, nil
}

// CloseRaw closes all the descriptors.
func CloseRaw(files []Raw) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// wait repeats a call until it is done or fails with anything but EAGAIN.
func (s *Seqpacket) wait(ready func(func(uintptr) bool) error, call func(fd int) error) error {
	var callErr error
	err := ready(func(fd uintptr) bool {
		callErr = retry(func() error { return call(int(fd)) })
		return !errors.Is(callErr, unix.EAGAIN)
	})
	if err != nil {
		return err
	}
	return callErr
}

// Close closes the socket.
func (s *Seqpacket) Close() error { return s.file.Close() }
