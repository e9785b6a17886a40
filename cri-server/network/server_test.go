package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/cniwire"
	"github.com/berth-runtime/berth/internal/testutil"
)

// A plugin of an older berth, which does not greet, is executed for each call, as are plugins of others.
func TestPluginsThatDoNotServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge")
	testutil.Must(t, os.WriteFile(path, []byte("#!/bin/sh\n[ \"$CNI_COMMAND\" ] || echo '{\"code\": 4, \"msg\": \"CNI_COMMAND is not set\"}'\nenv >&2\n"), 0o755))
	f, ok := identify(path)
	if !ok {
		t.Fatal("the file is not there")
	}
	s := newServers()
	defer s.close()
	if s.serves(f) {
		t.Error("a script counts as a plugin of berth's")
	}
	s.note(f, true)
	call := cniwire.Call{Environ: []string{"CNI_COMMAND=ADD", "CNI_ARGS=A=1", repairVariable, "OTHER=1"}, Stdin: []byte("{}")}
	if _, done, err := s.call(t.Context(), path, call); done || err != nil {
		t.Errorf("called: %v, %v", done, err)
	}
	if s.serves(f) {
		t.Error("it still counts as one that serves")
	}
	if got, want := strings.Join(serving(call.Environ), " "), cniwire.Serve+" OTHER=1"; got != want {
		t.Errorf("environment %q, want %q", got, want)
	}
}
