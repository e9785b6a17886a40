package wire

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/fork"
)

var at = time.Unix(1700000000, 123456789)

func sampleStart() Start {
	return Start{
		ID: "c1", Flags: 0x20000000, Has: HasPIDNS | HasMaster | HasSlave, Managed: true, Dir: "/run/io", LogPath: "/var/log/0.log",
		Stdin: true, Once: true, UID: 1000, GID: 2000, Program: []byte("program"),
	}
}

func TestRoundTrips(t *testing.T) {
	start := sampleStart()
	exit := Exit{Code: 137, Signal: 9, At: at, Known: true, Reason: "none"}
	check := func(name string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	gotStart, err := DecodeStart(start.Encode())
	check("start", start, gotStart, err)
	gotAttach, err := DecodeAttach((&Attach{"a", HasStdin | HasStderr}).Encode())
	check("attach", Attach{"a", HasStdin | HasStderr}, gotAttach, err)
	gotAdopt, err := DecodeAdopt((&Adopt{"a", HasStdin | HasMaster}).Encode())
	check("adopt", Adopt{"a", HasStdin | HasMaster}, gotAdopt, err)
	gotResize, err := DecodeResize((&Resize{"a", 80, 25}).Encode())
	check("resize", Resize{"a", 80, 25}, gotResize, err)
	gotEvent, err := DecodeEvent((&Event{"a", exit}).Encode())
	check("event", Event{"a", exit}, gotEvent, err)
	gotExit, err := DecodeExit(AppendExit(nil, exit))
	check("exit", exit, gotExit, err)
	gotStarted, err := DecodeStarted((&Started{7, 8, at}).Encode())
	check("started", Started{7, 8, at}, gotStarted, err)
	name, err := DecodeName(EncodeName("a"))
	check("name", "a", name, err)
	version, err := DecodeHello(EncodeHello(3))
	check("hello", uint32(3), version, err)
	list := []Process{{ID: "a", PID: 1, StartTime: 2, At: at, Exited: true, Exit: exit}, {ID: "b"}}
	gotList, err := DecodeProcesses(EncodeProcesses(list))
	check("list", list, gotList, err)
}

func TestCutMessages(t *testing.T) {
	start := sampleStart()
	start.Program = nil
	messages := map[string]struct {
		data   []byte
		decode func([]byte) error
	}{
		"start":  {start.Encode(), func(d []byte) error { _, err := DecodeStart(d); return err }},
		"attach": {(&Attach{"a", 1}).Encode(), func(d []byte) error { _, err := DecodeAttach(d); return err }},
		"resize": {(&Resize{"a", 1, 2}).Encode(), func(d []byte) error { _, err := DecodeResize(d); return err }},
		"event":  {(&Event{"a", Exit{}}).Encode(), func(d []byte) error { _, err := DecodeEvent(d); return err }},
		"name":   {EncodeName("abc"), func(d []byte) error { _, err := DecodeName(d); return err }},
		"list":   {EncodeProcesses([]Process{{ID: "a"}}), func(d []byte) error { _, err := DecodeProcesses(d); return err }},
	}
	for name, m := range messages {
		for n := range m.data {
			if err := m.decode(m.data[:n]); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("%s cut to %d of %d bytes: %v", name, n, len(m.data), err)
			}
		}
		if name == "start" { // its rest is the program
			continue
		}
		if err := m.decode(append(m.data, 0)); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s with a byte too many: %v", name, err)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	tests := map[string]func(*Start){
		"no ID":                  func(m *Start) { m.ID = "" },
		"long ID":                func(m *Start) { m.ID = strings.Repeat("x", MaxID+1) },
		"newline in the ID":      func(m *Start) { m.ID = "a\nb" },
		"relative folder":        func(m *Start) { m.Dir = "io" },
		"no folder":              func(m *Start) { m.Dir = "" },
		"NUL in the log path":    func(m *Start) { m.LogPath = "/a\x00" },
		"long log path":          func(m *Start) { m.LogPath = "/" + strings.Repeat("x", MaxPath) },
		"half a terminal":        func(m *Start) { m.Has = HasMaster },
		"stderr of a terminal":   func(m *Start) { m.Has = HasMaster | HasSlave | HasStderr },
		"unmanaged with a log":   func(m *Start) { *m = Start{ID: "a", LogPath: "/x"} },
		"unmanaged and a folder": func(m *Start) { *m = Start{ID: "a", Dir: "/x"} },
	}
	for name, change := range tests {
		m := sampleStart()
		change(&m)
		if _, err := DecodeStart(m.Encode()); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorsSurvive(t *testing.T) {
	tests := []struct {
		err error
		is  []error
		not []error
	}{
		{&fork.StepError{Step: "execute /x", Errno: syscall.ENOENT}, []error{fs.ErrNotExist, syscall.ENOENT}, nil},
		{errdefs.NotFound("process x"), []error{errdefs.ErrNotFound}, []error{errdefs.ErrExists, fs.ErrNotExist}},
		{errdefs.FailedPrecondition("it runs"), []error{errdefs.ErrFailedPrecondition}, nil},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOSPC}, []error{syscall.ENOSPC}, []error{errdefs.ErrInvalid}},
		{errors.New("plain"), nil, []error{errdefs.ErrBug}},
	}
	for _, tt := range tests {
		_, got := DecodeReply(EncodeReply(nil, tt.err))
		if got == nil || got.Error() != tt.err.Error() {
			t.Errorf("%v became %v", tt.err, got)
		}
		for _, is := range tt.is {
			if !errors.Is(got, is) {
				t.Errorf("%v is not %v", got, is)
			}
		}
		for _, not := range tt.not {
			if errors.Is(got, not) {
				t.Errorf("%v is %v", got, not)
			}
		}
	}
	var step *fork.StepError
	if _, err := DecodeReply(EncodeReply(nil, tests[0].err)); !errors.As(err, &step) || step.Step != "execute /x" {
		t.Errorf("step error became %v", err)
	}
	if result, err := DecodeReply(EncodeReply([]byte("result"), nil)); err != nil || string(result) != "result" {
		t.Errorf("result %q, %v", result, err)
	}
}
