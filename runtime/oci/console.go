package oci

import (
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/prepare"
)

// terminal returns the slave as the process's stdio, and sends the master to the console socket if there is one. It is
// named as others name it, by the file that it was opened from.
func (b *builder) terminal(pr *prepare.Prepared) ([3]*os.File, error) {
	slave := pr.Terminal.Slave
	stdio := [3]*os.File{slave, slave, slave}
	if b.opts.ConsoleSocket == "" {
		return stdio, nil
	}
	return stdio, sendMaster(b.opts.ConsoleSocket, &pr.Terminal)
}

// sendMaster sends a terminal's master away, and forgets it.
func sendMaster(socket string, t *prepare.Terminal) error {
	err := sendFile(socket, "/dev/ptmx", t.Master)
	master := t.Master
	t.Master = nil
	if err := errors.Join(err, master.Close()); err != nil {
		return fmt.Errorf("send the terminal to %s: %w", socket, err)
	}
	return nil
}

// sendFile sends a descriptor to whoever listens on a stream socket.
func sendFile(socket, name string, f *os.File) (err error) {
	s, err := sys.DialStream(socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return sys.SendFile(s, name, f)
}
