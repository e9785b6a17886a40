package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
)

// seal executes this program once more, through a read-only mount that is attached nowhere, unless it is on a read-only one
// already. A container's first process is a copy of this one until its execve, and what the image says to execute may be
// that copy's own /proc/self/exe: it can then open the binary, but not for writing (CVE-2019-5736). It returns nil in the
// sealed program only.
func seal(argv []string) error {
	const self = "/proc/self/exe"
	readonly, err := sys.Readonly(self)
	if err != nil {
		return fmt.Errorf("look at own binary: %w", err)
	}
	if readonly {
		return nil
	}
	f, err := sys.OpenSealed(self)
	if err != nil {
		return fmt.Errorf("seal own binary, which needs root: %w", err)
	}
	err = sys.ExecFile(f, argv, os.Environ())
	return errors.Join(fmt.Errorf("execute own binary: %w", err), f.Close())
}
