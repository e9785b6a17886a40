package fdstore_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/fdstore"
)

// received is one message with the files that came along.
func received(t *testing.T, c *net.UnixConn) (string, []int) {
	t.Helper()
	buf, oob := make([]byte, 4096), make([]byte, 4096)
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		list, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, list...)
	}
	return string(buf[:n]), fds
}

func TestMessages(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@berth-test-%d", os.Getpid())} {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := fdstore.New(name)
		if err != nil {
			t.Fatal(err)
		}
		r, w, err := sys.RawPipe()
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{s.Ready(), s.Put("stdin-7", w), s.Remove("stdin-7"), s.Put("none", sys.NoFile)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got, fds := received(t, c); got != "READY=1\n" || len(fds) > 0 {
			t.Errorf("%q with %v", got, fds)
		}
		got, fds := received(t, c)
		if !slices.Equal(strings.Fields(got), []string{"FDSTORE=1", "FDPOLL=0", "FDNAME=stdin-7"}) || len(fds) != 1 {
			t.Errorf("%q with %v", got, fds)
		}
		if got, fds := received(t, c); got != "FDSTOREREMOVE=1\nFDNAME=stdin-7\n" || len(fds) > 0 {
			t.Errorf("%q with %v", got, fds)
		}
		for _, fd := range append(fds, int(r), int(w)) {
			if err := syscall.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	s, err := fdstore.New("/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a b", "a:b", "a\nFDSTORE=1", "ä", strings.Repeat("a", 256)} {
		if err := s.Put(name, 0); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := fdstore.New("relative"); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a relative socket: %v", err)
	}
	if none, err := fdstore.New(""); err != nil || none.Ready() != nil || none.Put("a", 0) != nil || none.Remove("a") != nil {
		t.Errorf("without a manager: %v", err)
	}
	if err := s.Ready(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a manager that is gone: %v", err)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		pid, fds, names string
		want            []fdstore.Received
		bad             bool
	}{
		{"", "", "", nil, false},
		{"8", "2", "a:b", nil, false}, // somebody else's
		{"7", "2", "a:b", []fdstore.Received{{"a", 3}, {"b", 4}}, false},
		{"7", "1", "", []fdstore.Received{{"", 3}}, false},
		{"7", "0", "", nil, false},
		{"7", "2", "a", nil, true},
		{"7", "-1", "", nil, true},
		{"7", "99999999", "", nil, true},
		{"7", "x", "", nil, true},
		{"-7", "1", "", nil, true},
		{"0x7", "1", "", nil, true},
	} {
		got, err := fdstore.Parse(c.pid, c.fds, c.names, 7)
		if !slices.Equal(got, c.want) || errors.Is(err, errdefs.ErrInvalid) != c.bad {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("7", "2", "a:b")
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		list, err := fdstore.Parse(pid, fds, names, 7)
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Fatalf("kind of %v", err)
		}
		for i, r := range list {
			if int(r.File) != 3+i {
				t.Fatalf("file %d is %d", i, r.File)
			}
		}
	})
}
