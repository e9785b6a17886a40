package names

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/cni-plugins/internal/bounded"
	"github.com/berth-runtime/berth/cni-plugins/internal/flock"
	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// fileMax bounds a file, in bytes: 64 names of 253 bytes for each of a thousand attachments.
const fileMax = 16 << 20

// File is that of one network.
type File struct {
	dir, network string
}

// Open names the file of a network in a folder that holds such files alone. It touches nothing.
func Open(dir, network string) File { return File{dir: dir, network: network} }

func (f File) path() string { return filepath.Join(f.dir, f.network) }

// line is one of the file: an address, its names, and whose they are.
type line struct {
	addr  string // "", as the owner, of what is not ours
	text  string // as it stands in the file, with the newline
	owner string
}

// Owner is how a line names an attachment. Neither part may hold a colon or a blank.
func Owner(containerID, ifName string) string { return containerID + ":" + ifName }

func format(addr netip.Addr, names []string, owner string) line {
	return line{addr: addr.String(), owner: owner, text: addr.String() + " " + strings.Join(names, " ") + " # " + owner + "\n"}
}

// parse splits a file. It never fails: what is not ours is kept as it is, and belongs to nobody.
func parse(text string) []line {
	var list []line
	for t := range strings.Lines(text) {
		l := line{text: t}
		body, owner, _ := strings.Cut(strings.TrimSuffix(t, "\n"), " # ")
		if first, _, _ := strings.Cut(body, " "); isOwner(owner) && isAddr(first) {
			l.addr, l.owner = first, owner
		}
		if !strings.HasSuffix(t, "\n") {
			l.text += "\n"
		}
		list = append(list, l)
	}
	return list
}

func isOwner(text string) bool {
	return strings.Count(text, ":") == 1 && !strings.ContainsAny(text, " \t")
}

func isAddr(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// Set gives the addresses of an attachment their names, none for none. What stands there for them belongs to one that was lost, and goes.
func (f File) Set(owner string, addrs []netip.Addr, names []string) error {
	texts := map[string]bool{}
	for _, a := range addrs {
		texts[a.String()] = true
	}
	return f.change(len(names) > 0, func(list []line) []line {
		list = slices.DeleteFunc(list, func(l line) bool { return l.owner == owner || texts[l.addr] })
		if len(names) > 0 {
			for _, a := range addrs {
				list = append(list, format(a, names, owner))
			}
		}
		return list
	})
}

// Remove takes an attachment's names away. It is idempotent.
func (f File) Remove(owner string) error {
	return f.change(false, func(list []line) []line {
		return slices.DeleteFunc(list, func(l line) bool { return l.owner == owner })
	})
}

// Collect takes away the names of all but the valid owners.
func (f File) Collect(valid []string) error {
	keep := map[string]bool{"": true}
	for _, o := range valid {
		keep[o] = true
	}
	return f.change(false, func(list []line) []line {
		return slices.DeleteFunc(list, func(l line) bool { return !keep[l.owner] })
	})
}

// Check returns an error of kind ErrNotFound if an address lacks its names.
func (f File) Check(owner string, addrs []netip.Addr, names []string) error {
	if len(names) == 0 {
		return nil
	}
	text, err := f.read()
	if err != nil {
		return err
	}
	list := parse(text)
	for _, a := range addrs {
		if !slices.Contains(list, format(a, names, owner)) {
			return errdefs.NotFound("%s lacks the names %q of %s", f.path(), names, a)
		}
	}
	return nil
}

// change replaces the file by what edit makes of it, if that differs. Without create it makes no file.
func (f File) change(create bool, edit func([]line) []line) (err error) {
	if !create {
		_, err := os.Lstat(f.path())
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) {
			return nil
		}
	} else if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return fmt.Errorf("make folder for names: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	lock, err := flock.Open(f.dir)
	if err != nil {
		return fmt.Errorf("lock names: %w", err)
	}
	cu.Add(lock.Close)
	before, err := f.read()
	if err != nil {
		return err
	}
	var after strings.Builder
	for _, l := range edit(parse(before)) {
		after.WriteString(l.text)
	}
	switch {
	case after.Len() > fileMax:
		return errdefs.Unavailable("write names: %s would be larger than %d bytes", f.path(), fileMax)
	case after.String() == before:
		return nil
	case after.Len() == 0:
		if err := os.Remove(f.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove names: %w", err)
		}
		return nil
	}
	return atomicfile.Write(f.path(), []byte(after.String()), 0o644)
}

// read returns the file's text, "" if it is not there.
func (f File) read() (string, error) {
	data, err := bounded.Record(f.path(), fileMax)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read names: %w", err)
	}
	return string(data), nil
}
