// Package agent hands seccomp listeners to the agents that profiles name (linux.seccomp.listenerPath).
//
// What an agent gets is set down by the OCI runtime spec (config-linux.md, "The Container Process State"): one JSON object
// and, with it, the descriptors that it lists. The package keeps nothing; the listener stays its caller's.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Send connects to the agent at path, a unix stream socket, and sends it the listener with the state, whose version and list
// of descriptors it fills in. It waits no longer than ctx allows. ErrUnavailable: nobody listens there.
func Send(ctx context.Context, path string, state specs.ContainerProcessState, listener *os.File) (err error) {
	state.Version, state.State.Version, state.Fds = specs.Version, specs.Version, []string{specs.SeccompFdName}
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the state for the seccomp agent: %w", err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return errdefs.Unavailable("connect to the seccomp agent: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.Join(errdefs.Bug("a unix socket is a %T", conn), conn.Close())
	}
	defer func() { err = errors.Join(err, socket.Close()) }()
	stop := context.AfterFunc(ctx, func() {
		_ = socket.SetDeadline(time.Unix(1, 0)) // fails only on a socket that is closed, on which nobody waits
	})
	defer stop()
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) { sendErr = write(socket, data, int(fd)) }); err != nil {
		return err
	}
	return sendErr
}

// write sends all of data, the descriptor with its first byte.
func write(socket *net.UnixConn, data []byte, fd int) error {
	n, _, err := socket.WriteMsgUnix(data, syscall.UnixRights(fd), nil)
	if err == nil && n < len(data) {
		_, err = socket.Write(data[n:])
	}
	if err != nil {
		return fmt.Errorf("send the listener to the seccomp agent: %w", err)
	}
	return nil
}
