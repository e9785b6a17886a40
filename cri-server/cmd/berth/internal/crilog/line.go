package crilog

import (
	"bytes"
	"time"
)

// Line is one record of a log: a line that a container wrote, or a part of a long one.
type Line struct {
	Time    time.Time
	Stderr  bool
	Full    bool // the line ends here
	Content []byte
}

// Parse reads one record, without the newline that ends it in the file. ok is false for what is no record; Content is
// then all of it.
func Parse(record []byte) (line Line, ok bool) {
	raw := Line{Full: true, Content: record}
	at, rest, found := bytes.Cut(record, []byte(" "))
	if !found || len(at) > 64 {
		return raw, false
	}
	when, err := time.Parse(time.RFC3339Nano, string(at))
	if err != nil {
		return raw, false
	}
	stream, rest, found := bytes.Cut(rest, []byte(" "))
	if !found || (string(stream) != "stdout" && string(stream) != "stderr") {
		return raw, false
	}
	tags, content, found := bytes.Cut(rest, []byte(" "))
	if !found {
		tags, content = rest, nil // an empty line may have lost its blank
	}
	tag, _, _ := bytes.Cut(tags, []byte(":")) // more tags may follow, as the API says
	if string(tag) != "F" && string(tag) != "P" {
		return raw, false
	}
	return Line{Time: when, Stderr: string(stream) == "stderr", Full: string(tag) == "F", Content: content}, true
}
