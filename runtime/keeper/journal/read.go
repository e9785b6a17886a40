package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Parse returns the records of a journal up to the first thing in it that is not a record, and how many bytes those take,
// the journal's head included. An empty journal has no records.
func Parse(data []byte) (records []Record, good int) {
	rest, ok := bytes.CutPrefix(data, []byte(fileMagic))
	if !ok {
		return nil, 0
	}
	for {
		r, tail, ok := next(rest)
		if !ok {
			return records, len(data) - len(rest)
		}
		records = append(records, r)
		rest = tail
	}
}

// State is what a journal says of one process that is not forgotten.
type State struct {
	Start  Start
	Exited bool
	Exit   Record // if Exited
}

// Replay returns the processes that are not forgotten, in the order of their starts, and the largest Seq in use. Records
// that appear twice (a compaction may have met a record on its way) count once.
func Replay(records []Record) (list []*State, lastSeq uint64) {
	bySeq := make(map[uint64]*State)
	for _, r := range records {
		switch {
		case r.Start != nil:
			lastSeq = max(lastSeq, r.Start.Seq)
			if bySeq[r.Start.Seq] == nil {
				bySeq[r.Start.Seq] = &State{Start: *r.Start}
				list = append(list, bySeq[r.Start.Seq])
			}
		case r.Ended != 0:
			if s := bySeq[r.Ended]; s != nil {
				s.Exited, s.Exit = true, r
			}
		default:
			if s := bySeq[r.Forget]; s != nil {
				s.Start.Seq = 0
				delete(bySeq, r.Forget)
			}
		}
	}
	kept := list[:0]
	for _, s := range list {
		if s.Start.Seq != 0 {
			kept = append(kept, s)
		}
	}
	return kept, lastSeq
}

// load reads a journal, sets what is unreadable in it aside as path + ".damaged", and returns the rest.
func load(path string) (records []Record, damaged int, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open journal: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, 0, fmt.Errorf("read journal %s: %w", path, err)
	}
	if len(data) > maxFileSize {
		return nil, 0, errdefs.New(errdefs.ErrDataLoss, "journal %s has more than %d bytes", path, maxFileSize)
	}
	records, good := Parse(data)
	if good == len(data) {
		return records, 0, nil
	}
	if err := os.WriteFile(path+".damaged", data[good:], 0o600); err != nil {
		return nil, 0, fmt.Errorf("set the damaged end of journal %s aside: %w", path, err)
	}
	return records, len(data) - good, nil
}
