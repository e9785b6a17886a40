// Package fdstore lets a service manager keep descriptors beyond the keeper's death: sd_notify(3) with FDSTORE, FDNAME and
// FDSTOREREMOVE one way, LISTEN_FDS and LISTEN_FDNAMES the other (sd_listen_fds(3)).
//
// It owns nothing: what is sent stays the sender's, what was received is the caller's. It has no locks and no state.
package fdstore

import (
	"fmt"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Store is a service manager. One without a socket does nothing.
type Store struct{ socket string }

// maxName is the longest name that a manager takes.
const maxName = 255

// New returns the manager at a socket: the value of $NOTIFY_SOCKET, "" if there is none. A name that begins with "@" is an abstract one.
func New(socket string) (Store, error) {
	if socket != "" && socket[0] != '/' && socket[0] != '@' {
		return Store{}, errdefs.Invalid("NOTIFY_SOCKET: %q is no path and no abstract name", socket)
	}
	return Store{socket}, nil
}

// Ready says that the service is up.
func (s Store) Ready() error { return s.send("READY=1\n", nil) }

// Put gives the manager a descriptor to keep under a name, until Remove. It does not look whether the other end is gone
// (FDPOLL=0): that is when it is needed.
func (s Store) Put(name string, fd sys.Raw) error {
	if s.socket == "" || fd == sys.NoFile {
		return nil
	}
	if err := checkName(name); err != nil {
		return err
	}
	return s.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name+"\n", []sys.Raw{fd})
}

// Remove makes the manager close what it keeps under the name. It is idempotent.
func (s Store) Remove(name string) error {
	if s.socket == "" {
		return nil
	}
	if err := checkName(name); err != nil {
		return err
	}
	return s.send("FDSTOREREMOVE=1\nFDNAME="+name+"\n", nil)
}

func checkName(name string) error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, odd) {
		return errdefs.Invalid("%q can't be the name of a stored file", name)
	}
	return nil
}

func (s Store) send(message string, files []sys.Raw) error {
	if s.socket == "" {
		return nil
	}
	if err := sys.SendDatagram(s.socket, []byte(message), files); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
