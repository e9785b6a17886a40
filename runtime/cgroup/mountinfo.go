package cgroup

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// mountPoint is one cgroup file system in /proc/self/mountinfo.
type mountPoint struct {
	path     string   // where it is mounted
	v2       bool     // cgroup2
	readOnly bool     // by mount or by super block
	options  []string // v1: controllers and name=…, of the super block
}

// maxMountinfo bounds what a caller's mount table may cost; a node with 10,000 pods has about 5 MiB.
const maxMountinfo = 64 << 20

// parseMountinfo returns the cgroup mounts in the order of the table (proc_pid_mountinfo(5)). Lines of other file systems
// are skipped unread; a cgroup line that can't be understood is an error.
func parseMountinfo(r io.Reader) ([]mountPoint, error) {
	var found []mountPoint
	lines := bufio.NewScanner(io.LimitReader(r, maxMountinfo))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(" - cgroup")) {
			continue
		}
		m, ok, err := parseMountLine(lines.Text())
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, m)
		}
	}
	return found, lines.Err()
}

// parseMountLine reads "ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG…] - TYPE SOURCE SUPEROPTIONS".
func parseMountLine(line string) (mountPoint, bool, error) {
	head, tail, _ := strings.Cut(line, " - ")
	left, right := strings.Fields(head), strings.Fields(tail)
	if len(left) < 6 || len(right) < 3 {
		return mountPoint{}, false, errdefs.Invalid("parse mountinfo: line %.200q has too few fields", line)
	}
	if right[0] != "cgroup" && right[0] != "cgroup2" {
		return mountPoint{}, false, nil
	}
	super := strings.Split(right[2], ",")
	return mountPoint{
		path:     unescapeMount(left[4]),
		v2:       right[0] == "cgroup2",
		readOnly: slices.Contains(strings.Split(left[5], ","), "ro") || slices.Contains(super, "ro"),
		options:  super,
	}, true, nil
}

// unescapeMount undoes the octal escapes of blanks, newlines and backslashes.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace(s)
}
