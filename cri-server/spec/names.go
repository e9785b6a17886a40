package spec

import (
	"path"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// checkText refuses what could add a line to a file, or cut a string short, when it gets there.
func checkText(what, s string, limit int) error {
	if strings.ContainsAny(s, "\r\n\x00") {
		return errdefs.Invalid("%s %q has a line break or a NUL in it", what, s)
	}
	if len(s) > limit {
		return errdefs.Invalid("%s is %d bytes long, the limit is %d", what, len(s), limit)
	}
	return nil
}

// checkPath accepts clean-able absolute paths that can be handed to the kernel.
func checkPath(what, p string) error {
	if err := checkText(what, p, maxPath); err != nil {
		return err
	}
	if !path.IsAbs(p) {
		return errdefs.Invalid("%s %q is not an absolute path", what, p)
	}
	return nil
}

const (
	maxPath = 4095 // PATH_MAX without its NUL
	maxText = 1 << 10
)
