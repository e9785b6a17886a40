package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/fdstore"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
	"github.com/berth-runtime/berth/runtime/keeper/journal"
	"github.com/berth-runtime/berth/runtime/keeper/stdio"
)

// Config is what a keeper needs. Socket, StateDir and Logger must be set.
type Config struct {
	Socket   string // where it listens; its folder is made with mode 0700 if it is not there
	StateDir string // its memory, on a tmpfs; made with mode 0700 if it is not there
	Logger   *slog.Logger
	Ready    func() error // called once connections are accepted

	// Args is the command line, with the program's name, of a program that this one is to become; "--try" is added to ask whether it
	// can ([Try]), "--resume" and a number to do it. Empty: there are no upgrades.
	Args   []string
	Resume int // the number behind --resume; 0: this process was no keeper before

	// Manager keeps files beyond this process's death, and Kept is what it has handed back, the keeper's from then on.
	Manager fdstore.Store
	Kept    []fdstore.Received
}

// Run serves until ctx ends, which leaves all processes running. A second keeper on the same state folder is refused
// (errdefs.ErrFailedPrecondition); one that is only just dying is waited for.
func Run(ctx context.Context, cfg Config) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := makeDirs(cfg.StateDir, filepath.Dir(cfg.Socket)); err != nil {
		return err
	}
	if err := takeBack(cfg.Kept); err != nil {
		return fmt.Errorf("take back kept files: %w", err)
	}
	var state *handover.State
	if cfg.Resume > 0 {
		if state, err = inherit(cfg); err != nil {
			return err
		}
	}
	lock, err := takeLock(ctx, cfg, state)
	if err != nil {
		return err
	}
	cu.Add(lock.Close)
	s, err := newServer(cfg, lock, state)
	if err != nil {
		return err
	}
	cu.Add(s.close)
	if err := s.takeListener(cfg, state); err != nil {
		return err
	}
	closeListener := sync.OnceValue(s.listener.Close)
	cu.Add(closeListener)
	if state != nil {
		if err := s.serveConns(state.Protocol); err != nil {
			cfg.Logger.Error("connections of the keeper before do not all go on", "error", err)
		}
	}
	stop := context.AfterFunc(ctx, func() {
		// Ends accept below; the clean-up stack reports the error.
		_ = closeListener()
	})
	defer stop()
	if cfg.Ready != nil {
		if err := cfg.Ready(); err != nil {
			return fmt.Errorf("say that the keeper is ready: %w", err)
		}
	}
	if err := cfg.Manager.Ready(); err != nil {
		return err
	}
	cfg.Logger.Info("keeper serves", "socket", cfg.Socket, "processes", s.count())
	return s.accept(ctx)
}

func takeLock(ctx context.Context, cfg Config, state *handover.State) (*os.File, error) {
	if state == nil {
		return acquire(ctx, cfg)
	}
	return state.Lock.File(cfg.StateDir + "/lock"), nil // locked since the first of us
}

func makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make keeper folder: %w", err)
		}
		if err := private(dir); err != nil {
			return err
		}
	}
	return nil
}

// private refuses a folder in which others could put a socket, a lock or a journal of theirs.
func private(dir string) error {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return fmt.Errorf("look at keeper folder %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return errdefs.New(errdefs.ErrPermission,
			"keeper folder %s is of user %d with mode %04o: others must not be able to write there", dir, st.Uid, st.Mode&0o7777)
	}
	return nil
}

// listen replaces the socket of a dead keeper.
func listen(path string) (*sys.Seqpacket, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := sys.ListenSeqpacket(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func newServer(cfg Config, lock *os.File, state *handover.State) (_ *server, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	s := &server{
		logger:    cfg.Logger,
		args:      cfg.Args,
		lock:      lock,
		store:     cfg.Manager,
		processes: make(map[string]*process),
		conns:     make(map[*conn]struct{}),
		idle:      newIdler(),
		forks:     fork.NewServers(forkServers),
	}
	if s.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("open stdio for processes without: %w", err)
	}
	cu.Add(s.null.Close)
	if s.poller, err = sys.NewPoller(); err != nil {
		return nil, fmt.Errorf("make poller: %w", err)
	}
	cu.Add(s.poller.Close)
	s.shared = stdio.NewShared(s.poller, cfg.Logger, s.idle.touch, s.announceInputEnd)
	if s.cursors, err = stdio.OpenCursors(cfg.StateDir + "/cursors"); err != nil {
		return nil, err
	}
	cu.Add(s.cursors.Close)
	j, states, lastSeq, damaged, err := journal.Open(cfg.StateDir, s.liveRecords)
	if err != nil {
		return nil, err
	}
	s.journal, s.seq = j, lastSeq
	cu.Add(j.Close)
	if damaged > 0 {
		cfg.Logger.Error("the end of the journal was unreadable and is set aside; processes in it are not known any more",
			"file", cfg.StateDir+"/journal.damaged", "bytes", damaged)
	}
	s.continueOrTakeOver(states, state, cfg.Kept)
	s.awaitLogs()
	go s.poll()
	cu.Release()
	return s, nil
}

// poll runs the poller. Without it the keeper is blind, so that its failure ends the process; a successor takes over.
func (s *server) poll() {
	for {
		err := s.poller.Run()
		if err == nil {
			return
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			panic(errdefs.Bug("poller: %w", err))
		}
		s.polling.pass()
	}
}
