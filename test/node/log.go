package node

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// LogLine is one line of a container's log in the CRI format.
type LogLine struct {
	Time   time.Time
	Stream string // stdout or stderr
	Full   bool   // false for a part of a long line
	Text   string
}

// ReadLog parses a container's log and checks that every line has the format's four fields.
func ReadLog(path string) ([]LogLine, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []LogLine
	for raw := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(raw, "\n"), " ", 4)
		if len(f) != 4 || !strings.HasSuffix(raw, "\n") {
			return nil, fmt.Errorf("%s: line %d is not in the CRI format: %q", path, len(lines)+1, raw)
		}
		at, err := time.Parse(time.RFC3339Nano, f[0])
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(lines)+1, err)
		}
		if f[1] != "stdout" && f[1] != "stderr" || f[2] != "F" && f[2] != "P" {
			return nil, fmt.Errorf("%s: line %d: stream %q, tag %q", path, len(lines)+1, f[1], f[2])
		}
		lines = append(lines, LogLine{Time: at, Stream: f[1], Full: f[2] == "F", Text: f[3]})
	}
	return lines, nil
}

// Text joins the text of log lines as the program wrote it.
func Text(lines []LogLine) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text)
		if l.Full {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
