package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// cpioWriter writes the "newc" format that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpioWriter struct {
	w    *bufio.Writer
	ino  int
	made map[string]bool
	err  error
}

func newCpio(w io.Writer) *cpioWriter {
	return &cpioWriter{w: bufio.NewWriterSize(w, 1<<20), made: map[string]bool{".": true}}
}

const (
	cpioDir  = 0o040755
	cpioFile = 0o100000
	cpioLink = 0o120777
)

func (c *cpioWriter) entry(name string, mode int, data []byte) {
	if c.err != nil {
		return
	}
	c.ino++
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	for _, part := range [][]byte{[]byte(header + name + "\x00"), data} {
		padded := append(part, make([]byte, (4-len(part)%4)%4)...)
		if _, err := c.w.Write(padded); err != nil {
			c.err = err
		}
	}
}

// mkdir adds a folder and those above it.
func (c *cpioWriter) mkdir(name string) {
	if c.made[name] {
		return
	}
	c.mkdir(path.Dir(name))
	c.made[name] = true
	c.entry(name, cpioDir, nil)
}

func (c *cpioWriter) file(name string, perm int, data []byte) {
	c.mkdir(path.Dir(name))
	c.entry(name, cpioFile|perm, data)
}

func (c *cpioWriter) symlink(name, target string) {
	c.mkdir(path.Dir(name))
	c.entry(name, cpioLink, []byte(target))
}

// copyTree adds a file or a folder of the host. What is not there is left out.
func (c *cpioWriter) copyTree(name, host string) {
	err := filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := strings.TrimSuffix(name+"/"+strings.TrimPrefix(strings.TrimPrefix(p, host), "/"), "/")
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			c.mkdir(at)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			c.file(at, int(info.Mode().Perm()), data)
		}
		return nil
	})
	if err != nil && c.err == nil && !os.IsNotExist(err) {
		c.err = err
	}
}

// close ends the archive.
func (c *cpioWriter) close() error {
	c.entry("TRAILER!!!", 0, nil)
	if err := c.w.Flush(); c.err == nil {
		c.err = err
	}
	return c.err
}
