package stdio

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/logs"
)

const (
	errNotWatched = syscall.ENOENT

	// turnsAtOnce is how many chunks of one stream are moved before the lane's other work has its turn.
	turnsAtOnce = 8

	// drainTurns is enough for a pipe of the largest size that users may set (/proc/sys/fs/pipe-max-size), filled with
	// small pieces.
	drainTurns = 1024

	// retryAfter is the pause after an error of the kernel's, such as a lack of descriptors. No event would tell its end.
	retryAfter = time.Second

	// lossPause is how long a log must have worked before what it lost is reported.
	lossPause = time.Second

	// packetBytes is the size of the largest packet: what one write(2) puts into one page of a pipe.
	packetBytes = 64 << 10 / 16
)

// schedule puts a turn of the stream into the lane, unless there is one. It is called by the poller.
func (s *Stdio) schedule(o *output) {
	if !o.queued.Swap(true) {
		s.lane.Do(func() { s.pump(o) })
	}
}

// pump moves output until there is no more: the poller tells only of what comes after.
func (s *Stdio) pump(o *output) {
	o.queued.Store(false)
	s.shared.Active()
	if o.fd == sys.NoFile {
		return
	}
	for range turnsAtOnce {
		if s.heldUp() {
			return // release schedules the next turn
		}
		more, err := s.turn(o, false)
		if err != nil {
			s.shared.Logger.Error("can't read output", "process", s.cfg.ID, "stream", o.stream.String(), "error", err)
			time.AfterFunc(retryAfter, func() { s.schedule(o) })
			return
		}
		if !more {
			return
		}
	}
	s.schedule(o)
}

// turn moves one chunk. more is false when there is nothing to move now.
func (s *Stdio) turn(o *output, flush bool) (more bool, err error) {
	b := s.shared.borrow()
	defer s.shared.giveBack(b)
	if s.cfg.Terminal {
		return s.turnTerminal(o, b)
	}
	held := copy(b.in[:], s.cursor.line(o.stream))
	n, err := s.shared.peek(o.fd, b.in[held:held+chunkBytes])
	if err != nil || (n == 0 && (!flush || held == 0)) {
		return false, err
	}
	data := b.in[:held+n]
	if s.log == nil {
		s.fanOut(o, data[held:])
		return n > 0, take(o.fd, data[held:], nil)
	}
	return n > 0, s.record(o, b, data, held, flush)
}

// record moves data, which is the unfinished line and what is at the front of the FIFO, into the log as far as it is whole
// lines, and the rest to the unfinished line.
func (s *Stdio) record(o *output, b *buffers, data []byte, held int, flush bool) error {
	limit := recordsBytes
	if len(data)-held <= packetBytes {
		limit = 0 // it may be a packet (O_DIRECT): reading a part of one would lose the rest
	}
	k := step{stream: o.stream, at: time.Now(), log: s.log.Identity()}
	out, used := logs.Format(b.out[:0], limit, k.at, o.stream, data, flush)
	end, kept := s.keepRest(&k, data, held, used)
	if !kept { // no memory for an unfinished line: it goes into the log as it is
		out, used = logs.Format(b.out[:0], 0, k.at, o.stream, data, true)
		end = used
	}
	k.out, k.length, k.last = len(out), end-held, data[end-1]
	var logErr error
	if used == 0 {
		s.cursor.begin(k)
	} else {
		logErr = s.write(out, func(size int64) {
			k.offset = size
			s.cursor.begin(k)
		})
	}
	// From here on the bytes are in the log, or given up.
	var err error
	if k.length > 0 {
		err = take(o.fd, data[held:end], s.cursor.marker())
	}
	s.cursor.finish(k)
	s.account(logErr, used)
	s.fanOut(o, data[held:end])
	return err
}

// keepRest prepares the unfinished line that a step leaves, if it does. end is how much of data the step moves.
func (s *Stdio) keepRest(k *step, data []byte, held, used int) (end int, kept bool) {
	switch rest := data[used:]; {
	case used == 0:
		k.newLine, kept = s.cursor.extendLine(k.stream, rest[held:])
	case len(rest) > 0 && len(rest) < logs.MaxLine && bytes.IndexByte(rest, '\n') < 0:
		k.newLine, kept = s.cursor.replaceLine(k.stream, rest)
	default:
		return used, true // nothing is left, or there are more lines, for the next step
	}
	if !kept {
		k.newLine = 0
	}
	return len(data), kept
}

// write appends records to the log, telling begin where.
func (s *Stdio) write(records []byte, begin func(size int64)) error {
	size, err := s.log.Size()
	if err != nil {
		return fmt.Errorf("stat log: %w", err)
	}
	if begin != nil {
		begin(size)
	}
	return s.log.Append(size, records)
}

// take takes len(data) bytes out of the FIFO, the last of them into marker if there is one. Fewer bytes there than data
// means that the process has read its own output.
func take(fifo sys.Raw, data, marker []byte) error {
	var err error
	if marker == nil {
		_, err = fifo.Read(data)
	} else {
		_, err = fifo.ReadSplit(data[:len(data)-1], marker)
	}
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("take output: %w", err)
	}
	return nil
}

// account reports output that could not be logged: when that begins, and how much it was when it is over. A disk that
// is almost full fails every other time; that is one report.
func (s *Stdio) account(err error, n int) {
	switch {
	case n == 0:
	case err != nil:
		if s.lost == 0 {
			s.shared.Logger.Error("can't write log: output is dropped until it works again", "process", s.cfg.ID, "error", err)
		}
		s.lost += n
		s.lostAt = time.Now()
	case s.lost > 0 && time.Since(s.lostAt) > lossPause:
		s.reportLoss()
	}
}

func (s *Stdio) reportLoss() {
	if s.lost > 0 {
		s.shared.Logger.Error("output is missing in the log", "process", s.cfg.ID, "bytes", s.lost)
		s.lost = 0
	}
}

// turnTerminal is turn for a terminal, whose output can't be left where it is.
func (s *Stdio) turnTerminal(o *output, b *buffers) (more bool, err error) {
	held := copy(b.in[:], s.partial)
	n, err := o.fd.Read(b.in[held:])
	if n == 0 {
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EIO) { // EIO: nobody has the terminal open
			err = nil
		}
		return false, err
	}
	if s.log != nil { // first: what someone has seen is in the log
		s.partial = slices.Clone(s.recordTerminal(o, b, b.in[:held+n], false))
	}
	s.fanOut(o, b.in[held:held+n])
	return true, nil
}

func (s *Stdio) recordTerminal(o *output, b *buffers, data []byte, flush bool) (rest []byte) {
	for {
		out, used := logs.Format(b.out[:0], recordsBytes, time.Now(), o.stream, data, flush)
		if used == 0 {
			return data
		}
		s.account(s.write(out, nil), used)
		data = data[used:]
	}
}

func (s *Stdio) flushPartial() error {
	if len(s.partial) == 0 || s.log == nil {
		return nil
	}
	b := s.shared.borrow()
	defer s.shared.giveBack(b)
	data := s.partial
	s.partial = nil
	if rest := s.recordTerminal(&s.out[0], b, data, true); len(rest) > 0 {
		return errors.New("an unfinished line was not written")
	}
	return nil
}
