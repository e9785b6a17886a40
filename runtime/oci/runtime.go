package oci

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Config is what a Runtime needs.
type Config struct {
	Root    string // folder on a tmpfs, made if it is missing
	Logger  *slog.Logger
	Resctrl string // where resctrl is mounted; "": looked for
	Systemd bool   // new containers' control groups are scopes of systemd's
}

// Runtime works on the containers below one state folder. It holds nothing open.
type Runtime struct{ cfg Config }

// New returns a Runtime.
func New(cfg Config) *Runtime { return &Runtime{cfg} }

// Status is the state of a container, in the spec's words, and paused.
type Status string

// The statuses.
const (
	StatusCreating Status = "creating"
	StatusCreated  Status = "created"
	StatusRunning  Status = "running"
	StatusPaused   Status = "paused"
	StatusStopped  Status = "stopped"
)

const maxID = 255 // NAME_MAX: it is the name of a folder

// checkID accepts what is a plain file name of runc's alphabet.
func checkID(id string) error {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_+-.", r))
	}
	if len(id) > maxID {
		return errdefs.Invalid("invalid id format: %.20q… has %d bytes, more than %d", id, len(id), maxID)
	}
	if id == "" || id == "." || id == ".." || strings.ContainsFunc(id, bad) {
		return errdefs.Invalid("invalid id format: %.100q is not made of [A-Za-z0-9_+.-]", id)
	}
	return nil
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
