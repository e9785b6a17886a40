// Package fakesystemd is a service manager for tests: as much of org.freedesktop.systemd1 as berth speaks, on a socket such
// as /run/systemd/private. No machine that builds berth runs systemd, so this is where the driver's tests end: what a
// real manager does with a unit is not tested.
package fakesystemd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Server is the manager. Its functions are called with the unit's name, and refuse by an error.
type Server struct {
	Socket  string
	Version string // "252 (252.38-1)"
	OnStart func(unit string, props map[string]any) error
	OnStop  func(unit string)
	Result  string // of jobs; "done" when empty

	mu    sync.Mutex
	units map[string]map[string]any // properties by unit
	log   []string
	jobs  int
}

// Start serves until the test ends.
func Start(t *testing.T) *Server {
	t.Helper()
	s := &Server{Socket: filepath.Join(t.TempDir(), "private"), Version: "252 (252.38-1)", units: map[string]map[string]any{}}
	l, err := net.Listen("unix", s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { s.serve(t, conn) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	return s
}

// Unit returns a copy of a unit's properties, nil if there is no such unit.
func (s *Server) Unit(name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.units[name])
}

// Calls lists the methods that were called, with their unit.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.log...)
}

func (s *Server) serve(t *testing.T, conn net.Conn) {
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	in := bufio.NewReader(conn)
	if err := handshake(in, conn); err != nil { // a client that was cancelled
		t.Logf("authentication: %v", err)
		return
	}
	p := &peer{out: conn}
	for {
		m, err := dbus.DecodeMessage(in)
		if err != nil { // the client has hung up
			return
		}
		reply, signal := s.handle(m)
		p.send(t, reply)
		if signal != nil {
			p.send(t, signal)
		}
	}
}

// handshake is the server's side of EXTERNAL (D-Bus specification, "Authentication Protocol").
func handshake(in *bufio.Reader, out net.Conn) error {
	if b, err := in.ReadByte(); err != nil || b != 0 {
		return fmt.Errorf("first byte %d, %w", b, err)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		answer := "ERROR\r\n"
		switch words := strings.Fields(line); {
		case len(words) == 0:
		case words[0] == "BEGIN":
			return nil
		case words[0] == "AUTH" && len(words) == 1:
			answer = "REJECTED EXTERNAL\r\n"
		case words[0] == "AUTH" && words[1] == "EXTERNAL":
			answer = "OK 0123456789abcdef0123456789abcdef\r\n"
		}
		if _, err := out.Write([]byte(answer)); err != nil {
			return err
		}
	}
}

type peer struct {
	out    net.Conn
	serial uint32
}

// send writes a message; its serial number, which the library does not set for others, stands at byte 8.
func (p *peer) send(t *testing.T, m *dbus.Message) {
	p.serial++
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		t.Errorf("answer: %v", err)
		return
	}
	binary.LittleEndian.PutUint32(b.Bytes()[8:], p.serial)
	if _, err := p.out.Write(b.Bytes()); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("answer: %v", err)
	}
}
