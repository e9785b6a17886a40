package keeper

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/journal"
	"github.com/berth-runtime/berth/runtime/keeper/stdio"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// starting is a verified request to start a process, with its files.
type starting struct {
	wire.Start
	program *fork.Program
	pidns   *os.File
	cgroup  *os.File
	direct  [3]*os.File
	master  sys.Raw
	slave   *os.File

	listener sys.Raw // where the seccomp listener goes
}

func (s *server) decodeStart(m wire.Message) (handler, error) {
	req, err := wire.DecodeStart(m.Payload)
	if err != nil {
		return nil, err
	}
	f, rest, err := pick(order(req.Has), m.Files)
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, len(rest))
	for i, r := range rest {
		files[i] = r.File("file of a program")
	}
	st := &starting{
		Start: req, master: f[5], listener: f[7],
		pidns: file(f[0], "PID namespace"), cgroup: file(f[1], "cgroup"), slave: file(f[6], "terminal"),
		direct: [3]*os.File{file(f[2], "stdin"), file(f[3], "stdout"), file(f[4], "stderr")},
	}
	if st.program, err = fork.Unmarshal(req.Program, files); err != nil {
		//lint:ignore nilerr the answer carries it
		return func() ([]byte, []sys.Raw, error) { return nil, nil, errors.Join(err, closeFiles(files), st.close()) }, nil
	}
	st.Start.Program = nil
	return func() ([]byte, []sys.Raw, error) {
		result, pidfd, err := s.start(st)
		return result, pidfd, errors.Join(err, st.program.Close(), st.close())
	}, nil
}

// order puts the bits of Start.Has into the order of its files.
func order(has uint8) uint8 {
	var o uint8
	for i, bit := range []uint8{
		wire.HasPIDNS, wire.HasCgroup, wire.HasStdin, wire.HasStdout, wire.HasStderr, wire.HasMaster, wire.HasSlave,
		wire.HasListener,
	} {
		if has&bit != 0 {
			o |= 1 << i
		}
	}
	return o
}

func file(r sys.Raw, name string) *os.File {
	if r == sys.NoFile {
		return nil
	}
	return r.File(name)
}

func closeFiles(files []*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// close closes the files that only the start needs. The master belongs to whoever took it.
func (st *starting) close() error {
	master, listener := st.master, st.listener
	st.master, st.listener = sys.NoFile, sys.NoFile
	return errors.Join(closeFiles([]*os.File{st.pidns, st.cgroup, st.slave, st.direct[0], st.direct[1], st.direct[2]}), master.Close(), listener.Close())
}

// start makes the process. Everything that can fail is done before its execve has succeeded. The result's file is a pidfd.
func (s *server) start(st *starting) (result []byte, pidfd []sys.Raw, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	p, err := s.reserve(st.ID)
	if err != nil {
		return nil, nil, err
	}
	cu.Add(func() error { return s.release(p) })
	files, closeChild, err := s.makeStdio(p, st)
	if err != nil {
		return nil, nil, err
	}
	closeChild = sync.OnceValue(closeChild)
	cu.Add(closeChild)
	cu.Add(func() error { return s.removeStdio(p) })
	if p.stdio != nil {
		if err := errors.Join(p.stdio.Serve(), attachFirst(p.stdio, st.direct)); err != nil {
			return nil, nil, err
		}
	}
	cu.Add(func() error { s.unkeep(p); return nil })
	if err := s.keepStdio(p); err != nil {
		return nil, nil, err
	}
	reply := sys.NoFile
	cu.Add(func() error { return errors.Join(reply.Close(), s.unwatch(p), s.noteNoStart(p)) })
	child, err := fork.Start(st.program, fork.Options{
		Flags: st.Flags, PIDNS: st.pidns, Cgroup: st.cgroup, Stdio: files, Servers: s.forks,
		Forked: func(c fork.Child) (err error) {
			if reply, err = sys.RawDup(c.Pidfd); err != nil {
				return fmt.Errorf("duplicate pidfd: %w", err)
			}
			return s.noteStart(p, c)
		},
		Checkpoint: st.checkpoint,
	})
	if err != nil {
		return nil, nil, err
	}
	cu.Release()
	if err := errors.Join(child.Pidfd.Close(), closeChild()); err != nil {
		s.logger.Error("close files of a start", "process", st.ID, "error", err)
	}
	s.mu.Lock()
	p.started = true
	s.mu.Unlock()
	s.checkEnd(p) // it may have, while nobody would have believed it
	started := wire.Started{PID: p.record.PID, StartTime: p.record.StartTime, At: p.record.At}
	return started.Encode(), []sys.Raw{reply}, nil
}

// makeStdio fills in the process's stdio and returns the child's side of it.
func (s *server) makeStdio(p *process, st *starting) (files [3]*os.File, closeChild func() error, err error) {
	files, closeChild = st.direct, func() error { return nil }
	for _, f := range append(st.direct[:], st.slave) {
		// berthd may have opened it for its own poller; what the process inherits must block.
		if err := blocking(f); err != nil {
			return files, closeChild, fmt.Errorf("make stdio of %s blocking: %w", st.ID, err)
		}
	}
	if !st.Managed {
		s.fillNull(&files)
		return files, closeChild, nil
	}
	cfg := stdio.Config{ID: st.ID, Dir: st.Dir, LogPath: st.LogPath, Terminal: st.slave != nil, Stdin: st.Stdin, Once: st.Once}
	r := &p.record
	r.Managed, r.Terminal, r.Stdin, r.Once, r.Dir, r.LogPath = true, cfg.Terminal, cfg.Stdin, cfg.Once, cfg.Dir, cfg.LogPath
	if cfg.Terminal {
		master := st.master
		st.master = sys.NoFile
		p.stdio, err = stdio.NewTerminal(s.shared, cfg, master)
		return [3]*os.File{st.slave, st.slave, st.slave}, closeChild, err
	}
	cursor, slot, err := s.cursors.New(r.Seq)
	if err != nil {
		return files, closeChild, err
	}
	r.Slot = slot
	io, child, err := stdio.NewFIFOs(s.shared, cfg, cursor, stdio.Owner{UID: st.UID, GID: st.GID})
	if err != nil {
		s.cursors.Free(slot)
		return files, closeChild, err
	}
	p.stdio = io
	files = child
	s.fillNull(&files)
	return files, child.Close, nil
}

// attachFirst attaches the client that came with the start, if there is one.
func attachFirst(io *stdio.Stdio, files [3]*os.File) error {
	raw := [3]sys.Raw{sys.NoFile, sys.NoFile, sys.NoFile}
	if files == [3]*os.File{} {
		return nil
	}
	for i, f := range files {
		if f == nil {
			continue
		}
		var err error
		if raw[i], err = sys.RawDup(f); err != nil {
			return errors.Join(fmt.Errorf("duplicate a client's file: %w", err), sys.CloseRaw(raw[:]))
		}
	}
	return io.AttachFirst(raw[0], raw[1], raw[2])
}

func (s *server) fillNull(files *[3]*os.File) {
	for i := range files {
		if files[i] == nil {
			files[i] = s.null
		}
	}
}

func blocking(f *os.File) error {
	if f == nil {
		return nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var setErr error
	err = raw.Control(func(fd uintptr) { setErr = sys.Raw(fd).SetNonblock(false) })
	return errors.Join(err, setErr)
}

func (s *server) removeStdio(p *process) error {
	if p.stdio == nil {
		return nil
	}
	err := p.stdio.Remove()
	if !p.record.Terminal {
		s.cursors.Free(p.record.Slot)
	}
	return err
}

// noteStart watches and journals a process that is running its program. From here on a successor knows of it.
func (s *server) noteStart(p *process, c fork.Child) error {
	st, err := sys.ReadProcStat(c.PID)
	if err != nil {
		return fmt.Errorf("look at process %d: %w", c.PID, err)
	}
	pidfd, err := sys.RawDup(c.Pidfd)
	if err != nil {
		return fmt.Errorf("duplicate pidfd: %w", err)
	}
	s.mu.Lock()
	p.pidfd = pidfd
	p.record.PID, p.record.StartTime, p.record.At = c.PID, st.StartTime, time.Now()
	record := p.record
	s.mu.Unlock()
	if err := s.watch(p, pidfd); err != nil {
		return err
	}
	s.keep(p, keptPidfd, pidfd)
	return s.journal.Append(journal.Record{Start: &record})
}

// noteNoStart takes what noteStart journaled back.
func (s *server) noteNoStart(p *process) error {
	s.mu.Lock()
	noted := p.record.PID != 0
	p.record.PID = 0
	s.mu.Unlock()
	if !noted {
		return nil
	}
	return s.journal.Append(journal.Record{Forget: p.record.Seq})
}

// watch waits for the end of the process.
func (s *server) watch(p *process, pidfd sys.Raw) error {
	if err := s.poller.Add(pidfd, sys.ReadyIn, func(sys.Ready) { s.checkEnd(p) }); err != nil {
		return fmt.Errorf("watch process %s: %w", p.record.ID, err)
	}
	return nil
}

// unwatch closes the process's pidfd.
func (s *server) unwatch(p *process) error {
	s.mu.Lock()
	pidfd := p.pidfd
	p.pidfd = sys.NoFile
	s.mu.Unlock()
	if pidfd == sys.NoFile {
		return nil
	}
	err := s.poller.Remove(pidfd)
	if errors.Is(err, syscall.ENOENT) { // it was never added
		err = nil
	}
	return errors.Join(err, pidfd.Close())
}
