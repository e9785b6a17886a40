package cgroup

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// readNumber reads a file that holds one number, or "max" or a negative one for no limit.
func readNumber(d *sys.Dir, file string) (uint64, error) {
	data, err := d.ReadFile(file, maxFile)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	n, err := parseNumber(string(bytes.TrimSpace(data)))
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", file, err)
	}
	return n, nil
}

func parseNumber(s string) (uint64, error) {
	if s == "max" || strings.HasPrefix(s, "-") {
		return noLimit, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errdefs.New(errdefs.ErrInvalid, "%w", err)
	}
	return n, nil
}

// parseBytes reads what the kernel takes for a number of bytes in cgroup2 files (memparse): "max", or a number, decimal or
// with 0x, and at most one unit.
func parseBytes(s string) (n uint64, ok bool) {
	s = strings.TrimSpace(s)
	if s == "max" {
		return noLimit, true
	}
	shift := 0
	if i := len(s) - 1; i > 0 {
		if unit := strings.IndexByte("kmgtpe", s[i]|0x20); unit >= 0 && !strings.HasPrefix(s, "0x") {
			s, shift = s[:i], 10*(unit+1)
		}
	}
	n, err := strconv.ParseUint(s, 0, 64)
	return n << shift, err == nil && n<<shift>>shift == n && !strings.Contains(s, "_")
}

// parseFlat reads "key value" lines (memory.stat, cpu.stat, memory.events, memory.oom_control). Lines of another form
// are left out: such files grow with every kernel.
func parseFlat(data []byte) map[string]uint64 {
	m := make(map[string]uint64, 64)
	for line := range bytes.Lines(data) {
		key, value, ok := strings.Cut(string(bytes.TrimSpace(line)), " ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			m[key] = n
		}
	}
	return m
}

func readFlat(d *sys.Dir, file string) (map[string]uint64, error) {
	data, err := d.ReadFile(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return parseFlat(data), nil
}

// parseDevice reads "major:minor".
func parseDevice(s string) (major, minor uint32, ok bool) {
	a, b, found := strings.Cut(s, ":")
	ma, err1 := strconv.ParseUint(a, 10, 32)
	mi, err2 := strconv.ParseUint(b, 10, 32)
	return uint32(ma), uint32(mi), found && err1 == nil && err2 == nil
}

// parseIOStatV2 reads io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
func parseIOStatV2(data []byte) []IOStats {
	var list []IOStats
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		major, minor, ok := parseDevice(fields[0])
		if !ok {
			continue
		}
		s := IOStats{Major: major, Minor: minor}
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(f, "=")
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				continue
			}
			switch key {
			case "rbytes":
				s.ReadBytes = n
			case "wbytes":
				s.WriteBytes = n
			case "rios":
				s.ReadOps = n
			case "wios":
				s.WriteOps = n
			case "dbytes":
				s.DiscardBytes = n
			case "dios":
				s.DiscardOps = n
			}
		}
		list = append(list, s)
	}
	return list
}

// parseIOStatV1 adds one of v1's tables ("8:0 Read 4096") to list; bytes says which of the two tables it is.
func parseIOStatV1(list []IOStats, data []byte, isBytes bool) []IOStats {
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 {
			continue
		}
		major, minor, ok := parseDevice(fields[0])
		n, err := strconv.ParseUint(fields[2], 10, 64)
		if !ok || err != nil {
			continue
		}
		var s *IOStats
		if list, s = ioDevice(list, major, minor); s == nil {
			continue
		}
		s.count(fields[1], isBytes, n)
	}
	return list
}

// ioDevice finds the device in list, or adds it.
func ioDevice(list []IOStats, major, minor uint32) ([]IOStats, *IOStats) {
	for i := range list {
		if list[i].Major == major && list[i].Minor == minor {
			return list, &list[i]
		}
	}
	list = append(list, IOStats{Major: major, Minor: minor})
	return list, &list[len(list)-1]
}

func (s *IOStats) count(op string, isBytes bool, n uint64) {
	switch {
	case op == "Read" && isBytes:
		s.ReadBytes = n
	case op == "Read":
		s.ReadOps = n
	case op == "Write" && isBytes:
		s.WriteBytes = n
	case op == "Write":
		s.WriteOps = n
	case op == "Discard" && isBytes:
		s.DiscardBytes = n
	case op == "Discard":
		s.DiscardOps = n
	}
}

// parsePressure reads a PSI file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and the same for "full".
func parsePressure(data []byte) (*Pressure, error) {
	p := &Pressure{}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		var l *PressureLine
		switch fields[0] {
		case "some":
			l = &p.Some
		case "full":
			l = &p.Full
		default:
			continue
		}
		if err := l.parse(fields[1:]); err != nil {
			return nil, errdefs.New(errdefs.ErrInvalid, "%w", err)
		}
	}
	return p, nil
}

func (l *PressureLine) parse(fields []string) (err error) {
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "avg10":
			l.Avg10, err = strconv.ParseFloat(value, 64)
		case "avg60":
			l.Avg60, err = strconv.ParseFloat(value, 64)
		case "avg300":
			l.Avg300, err = strconv.ParseFloat(value, 64)
		case "total":
			l.Total, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
