package daemon

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// notify tells the service manager a state, as sd_notify(3) does: one datagram to the socket that NOTIFY_SOCKET names.
// With an empty name nobody asked.
func notify(socket, state string) error {
	if socket == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(socket, "@"); ok {
		socket = "\x00" + rest // abstract, see unix(7)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager %q: %w", state, err)
	}
	if _, err := conn.Write([]byte(state)); err != nil {
		return errors.Join(fmt.Errorf("tell the service manager %q: %w", state, err), conn.Close())
	}
	return conn.Close()
}
