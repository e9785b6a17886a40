package logs

import (
	"bytes"
	"time"
)

// Stream is where output comes from.
type Stream uint8

// The streams. A terminal's output is all Stdout.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

const (
	// MaxLine is the longest content of one record, as in the other runtimes.
	MaxLine = 16 << 10

	timeFormat  = "2006-01-02T15:04:05.000000000Z"
	headerBytes = len(timeFormat) + len(" stdout F ")
)

// Format appends records for src to dst, without making dst longer than limit (if it is positive; at least one record
// is made). All records carry the same time. It returns how much of src they hold: that ends with a line's end, or, in a line
// longer than MaxLine, anywhere. An unfinished line at the end of src is left, unless flush is set.
//
// Formatting src[:used] again, with flush and without limit, gives the same records.
func Format(dst []byte, limit int, at time.Time, stream Stream, src []byte, flush bool) (out []byte, used int) {
	var head [headerBytes]byte
	header := at.UTC().AppendFormat(head[:0], timeFormat)
	header = append(append(append(header, ' '), stream.String()...), " F "...)
	tag := len(header) - 2
	start := len(dst)
	for used < len(src) {
		content, skip, full := nextRecord(src[used:], flush)
		if skip == 0 {
			break
		}
		if limit > 0 && len(dst) > start && len(dst)+len(header)+len(content)+1 > limit {
			break
		}
		header[tag] = 'P'
		if full {
			header[tag] = 'F'
		}
		dst = append(append(append(dst, header...), content...), '\n')
		used += skip
	}
	return dst, used
}

// nextRecord splits off the content of one record. skip is how much of src it takes, 0 if the line isn't finished.
func nextRecord(src []byte, flush bool) (content []byte, skip int, full bool) {
	head := src[:min(len(src), MaxLine+1)]
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		return src[:i], i + 1, true
	}
	if len(src) >= MaxLine {
		return src[:MaxLine], MaxLine, false
	}
	if flush {
		return src, len(src), false
	}
	return nil, 0, false
}
