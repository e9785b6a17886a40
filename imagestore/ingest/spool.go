package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Dir is the folder.
type Dir struct{ path string }

// Open makes the folder if it is missing.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for downloads: %w", err)
	}
	return &Dir{path: path}, nil
}

// Spool is one download's bytes so far.
type Spool struct {
	f    *os.File
	size int64
}

// Open returns the spool of a blob that unpacks to a diffID, with what an earlier download left in it, at most max bytes.
func (d *Dir) Open(blob, diffID digest.Digest, max int64) (*Spool, error) {
	name := sha256.Sum256([]byte(blob.String() + " " + diffID.String()))
	f, err := os.OpenFile(filepath.Join(d.path, hex.EncodeToString(name[:])), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open spool of %s: %w", blob, err)
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() > max {
		err = f.Truncate(max)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open spool of %s: %w", blob, err), f.Close())
	}
	return &Spool{f: f, size: min(fi.Size(), max)}, nil
}

// None is a spool that keeps nothing.
func None() *Spool { return &Spool{} }

// Size is the number of bytes it holds.
func (s *Spool) Size() int64 { return s.size }

// Held reads what it holds now.
func (s *Spool) Held() io.Reader {
	if s.f == nil {
		return strings.NewReader("")
	}
	return io.NewSectionReader(s.f, 0, s.size)
}

// Write appends.
func (s *Spool) Write(p []byte) (int, error) {
	if s.f == nil {
		return len(p), nil
	}
	n, err := s.f.WriteAt(p, s.size)
	s.size += int64(n)
	return n, err
}

// Close keeps the bytes for the next time.
func (s *Spool) Close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

// Remove drops them.
func (s *Spool) Remove() error {
	if s.f == nil {
		return nil
	}
	err := os.Remove(s.f.Name())
	if errors.Is(err, fs.ErrNotExist) { // swept to make room
		err = nil
	}
	return errors.Join(err, s.f.Close())
}

// Sweep drops spools that nobody wrote to since a time.
func (d *Dir) Sweep(since time.Time) error {
	return d.each("sweep downloads", func(fi fs.FileInfo) error {
		if !fi.ModTime().Before(since) {
			return nil
		}
		if err := os.Remove(filepath.Join(d.path, fi.Name())); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// Usage is how many bytes all spools take.
func (d *Dir) Usage() (sum int64, err error) {
	err = d.each("measure downloads", func(fi fs.FileInfo) error {
		sum += fi.Size()
		return nil
	})
	return sum, err
}

// each visits the files; those that vanish meanwhile belong to downloads that have just ended.
func (d *Dir) each(what string, visit func(fs.FileInfo) error) error {
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		fi, infoErr := e.Info()
		if errors.Is(infoErr, fs.ErrNotExist) {
			continue
		}
		if infoErr == nil {
			infoErr = visit(fi)
		}
		err = errors.Join(err, infoErr)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
