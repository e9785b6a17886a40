package logs

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// File is an open log.
type File struct {
	f    *os.File
	path string
	id   Identity
}

// Identity tells a file from others of the same name.
type Identity struct{ Dev, Ino uint64 }

const perm = 0o640 // as the other runtimes: log collectors read it by their group

// Open opens the log at path for appending, and creates it if its folder exists. The last element of the path may not
// be a link, and what is there must be a regular file. If Open fails no new file exists.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	st, err := stat(f)
	if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		err = errdefs.Invalid("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	return &File{f: f, path: path, id: Identity{st.Dev, st.Ino}}, nil
}

// Continue takes over a log that this process had open before an execve. The error leaves f to the caller.
func Continue(f *os.File, path string) (*File, error) {
	st, err := stat(f)
	if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		err = errdefs.Invalid("it is not a regular file")
	}
	if err != nil {
		return nil, fmt.Errorf("continue log %s: %w", path, err)
	}
	return &File{f: f, path: path, id: Identity{st.Dev, st.Ino}}, nil
}

// Number returns the descriptor, which is good until Close.
func (l *File) Number() (sys.Raw, error) { return sys.Number(l.f) }

// Identity returns which file this is, whatever its name is by now.
func (l *File) Identity() Identity { return l.id }

// Size returns the length in bytes: the place of the next append.
func (l *File) Size() (int64, error) {
	st, err := stat(l.f)
	return st.Size, err
}

// Append writes records to the end of a log that is size bytes long. If it can't write all of them it takes back what it
// wrote, so that the log never ends in half a record.
func (l *File) Append(size int64, records []byte) error {
	if _, err := l.f.Write(records); err != nil {
		err = fmt.Errorf("write log: %w", err)
		if back := l.f.Truncate(size); back != nil {
			err = errors.Join(err, fmt.Errorf("take back half a record: %w", back))
		}
		return err
	}
	return nil
}

// Close closes the log.
func (l *File) Close() error { return l.f.Close() }

func stat(f *os.File) (syscall.Stat_t, error) {
	info, err := f.Stat()
	if err != nil {
		return syscall.Stat_t{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return syscall.Stat_t{}, errdefs.Bug("no stat of %s", f.Name())
	}
	return *st, nil
}
