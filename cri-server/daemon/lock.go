package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// lock makes dir and takes it for this process. The kernel drops the lock with the file, so a crash leaves none behind;
// the file itself stays, as removing it would race with the next one to lock it.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	err = take(f)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errdefs.FailedPrecondition("lock %s: another berthd%s uses it; stop that one or give this one folders of its own (--root, --state)", dir, owner(f))
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", dir, err)
	} else {
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// take locks the file. Where its owner is dead and it is locked all the same, a plugin that the dead one had forked is about
// to be executed, and lets go of it then: that is waited for.
func take(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if !errors.Is(err, syscall.EWOULDBLOCK) || !ownerIsDead(f) {
		return err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func ownerIsDead(f *os.File) bool {
	pid, err := strconv.Atoi(signature(f))
	return err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// owner names who signed the file, for the message only.
func owner(f *os.File) string {
	pid := signature(f)
	if pid == "" {
		return ""
	}
	return " (pid " + pid + ")"
}

func signature(f *os.File) string {
	data := make([]byte, 32)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	return strings.TrimSpace(string(data[:n]))
}

func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("sign the lock: %w", err)
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return fmt.Errorf("sign the lock: %w", err)
	}
	return nil
}
