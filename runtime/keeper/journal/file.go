package journal

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	fileName = "journal"

	// A journal is compacted when it has grown to this size and by this factor since the last time.
	compactBytes  = 128 << 10
	compactFactor = 4
)

// File is an open journal.
type File struct {
	path string
	live func() []Record

	mu      sync.Mutex
	f       *os.File
	size    int
	compact int // size at which to compact next
}

// Open opens or makes the journal in dir. It returns the states of processes that are not forgotten, the largest Seq in
// use and how many bytes at its end were unreadable and have been set aside.
//
// live returns the records that matter now; Append calls it to compact the journal, from any goroutine. It must already
// include what is being appended, or that record must not matter.
func Open(dir string, live func() []Record) (j *File, states []*State, lastSeq uint64, damaged int, err error) {
	j = &File{path: dir + "/" + fileName, live: live}
	records, damaged, err := load(j.path)
	if err != nil {
		return nil, nil, 0, 0, err
	}
	states, lastSeq = Replay(records)
	var keep []Record
	for _, s := range states {
		keep = append(keep, Record{Start: &s.Start})
		if s.Exited {
			keep = append(keep, s.Exit)
		}
	}
	if err := j.rewrite(keep); err != nil {
		return nil, nil, 0, 0, err
	}
	return j, states, lastSeq, damaged, nil
}

// Append adds a record.
func (j *File) Append(r Record) error {
	d := appendRecord(nil, &r)
	if len(d)-frameBytes > maxRecord {
		return errdefs.Invalid("write journal: a record of %d bytes", len(d))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.size >= j.compact {
		if err := j.rewrite(j.live()); err != nil {
			return err
		}
	}
	if _, err := j.f.Write(d); err != nil {
		// Half a record would hide all later ones.
		return errors.Join(fmt.Errorf("write journal: %w", err), j.f.Truncate(int64(j.size)))
	}
	j.size += len(d)
	return nil
}

// rewrite replaces the file by one with the given records.
func (j *File) rewrite(records []Record) error {
	d := []byte(fileMagic)
	for i := range records {
		d = appendRecord(d, &records[i])
	}
	// A fixed temporary name, so that a kill leaves no more than one.
	if err := os.WriteFile(j.path+".new", d, 0o600); err != nil {
		return fmt.Errorf("compact journal: %w", err)
	}
	if err := os.Rename(j.path+".new", j.path); err != nil {
		return fmt.Errorf("compact journal: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	old := j.f
	j.f, j.size, j.compact = f, len(d), max(compactBytes, compactFactor*len(d))
	if old == nil {
		return nil
	}
	return old.Close()
}

// Close closes the journal.
func (j *File) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.f.Close()
}
