package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/berth-runtime/berth/internal/sys"
)

// before reads the present value of what w is about to change, as the write that restores it.
func before(d *sys.Dir, w write) (write, error) {
	data, err := d.ReadFile(w.file, maxFile)
	w.linked, w.or = false, nil
	if errors.Is(err, fs.ErrNotExist) {
		w.optional = true // the write itself will say so, if it matters
		return w, nil
	}
	if err != nil {
		return w, fmt.Errorf("read %s: %w", w.file, err)
	}
	w.optional = true
	w.value = restore(string(data), w)
	return w, nil
}

// restore spells what sets w's file back to the content that it has now.
func restore(content string, w write) string {
	switch {
	case w.file == "memory.oom_control": // v1: a table to read, one number to write
		if strings.Contains(content, "oom_kill_disable 1") {
			return "1"
		}
		return "0"
	case w.keyed:
		return tableLine(content, w)
	}
	if content = strings.TrimSpace(content); content == "" { // an empty list is restored by an empty line
		return "\n"
	}
	return content
}

// tableLine returns the line of a table that has the first word of w's value, or w's reset.
func tableLine(table string, w write) string {
	key, _, _ := strings.Cut(w.value, " ")
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, key+" ") {
			return line
		}
	}
	return w.reset
}
