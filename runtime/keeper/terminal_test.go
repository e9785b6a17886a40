package keeper_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// pty makes a terminal in a devpts that nobody else sees the names of.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func noEcho(t *testing.T, terminal *os.File) {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(terminal.Fd()), unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
}

func (n *node) terminal(t *testing.T, id string) *client.Managed {
	m := n.managed(id)
	m.Master, m.Slave = pty(t)
	t.Cleanup(func() { m.Slave.Close() })
	return m
}

func TestTerminal(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.terminal(t, "tty")
	s.start("tty", sh(t, "stty -echo; read x; stty size; tty -s && echo a terminal; read x; exit 4"), client.Stdio{Managed: m})
	m.Slave.Close()
	if err := s.Resize(context.Background(), "tty", 123, 45); err != nil {
		t.Fatal(err)
	}
	in, out := attach(t, s, "tty")
	if _, err := in.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	var seen []string
	r := bufio.NewReader(out)
	for len(seen) == 0 || seen[len(seen)-1] != "a terminal" {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, then %v", seen, err)
		}
		if line = strings.TrimSpace(line); line != "" { // an echo before stty had its effect
			seen = append(seen, line)
		}
	}
	if seen[0] != "45 123" {
		t.Errorf("size: %q", seen)
	}
	if _, err := in.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("tty"); x.Code != 4 || !x.Known {
		t.Errorf("exit %+v", x)
	}
	log := text(readLog(t, m.LogPath), "stdout")
	if !strings.Contains(log, "45 123\r\na terminal\r\n") {
		t.Errorf("log: %q", log)
	}
}

// A successor goes on with a terminal when it is handed the master.
func TestTerminalThroughKill(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.terminal(t, "tty")
	noEcho(t, m.Slave)
	// It speaks when spoken to: what it says before a client is attached goes to the log alone.
	st := s.start("tty", sh(t, "read x; echo begun; while read x; do echo got $x; done; exit 6"), client.Stdio{Managed: m})
	m.Slave.Close()
	in, out := attach(t, s, "tty")
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "begun\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	n.kill()
	n.start()
	s = n.dial()
	for range 2 { // idempotent
		if err := s.Adopt(context.Background(), "tty", st.Pidfd, m.Master); err != nil {
			t.Fatal(err)
		}
	}
	in, out = attach(t, s, "tty")
	if _, err := in.WriteString("more\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "got more\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := in.WriteString("\x04"); err != nil { // ^D
		t.Fatal(err)
	}
	if x := s.exit("tty"); x.Code != 6 || !x.Known {
		t.Errorf("exit %+v", x)
	}
	if log := text(readLog(t, m.LogPath), "stdout"); log != "begun\r\ngot more\r\n" {
		t.Errorf("log: %q", log)
	}
}
