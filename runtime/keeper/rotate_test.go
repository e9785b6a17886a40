package keeper_test

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// A log that is rotated while a process writes as fast as it can has every line once, in one file or the next, through upgrades too.
func TestRotationUnderLoad(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("w")
	st := writer(t, s, "w", 4096, m)
	_, out := attach(t, s, "w")
	var logs []string
	for i := range 40 {
		if _, err := out.Read(make([]byte, 1)); err != nil && i == 0 { // later on it has been cut off, as it reads too slowly
			t.Fatal(err)
		}
		old := fmt.Sprintf("%s.%d", m.LogPath, i)
		if err := os.Rename(m.LogPath, old); err != nil {
			t.Fatal(err)
		}
		logs = append(logs, old)
		if i%10 == 5 { // a program that takes over goes on in the old file until it is told
			n.mustUpgrade()
			if _, err := os.Stat(m.LogPath); !os.IsNotExist(err) {
				t.Errorf("a new log before it was asked for: %v", err)
			}
		}
		if err := s.ReopenLog(context.Background(), "w"); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(st.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("w"); x.Code != 42 {
		t.Errorf("exit %+v", x)
	}
	checkLines(t, append(logs, m.LogPath)...)
}
