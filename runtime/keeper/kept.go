package keeper

import (
	"errors"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/fdstore"
	"github.com/berth-runtime/berth/runtime/keeper/journal"
)

// What the service manager keeps of a process, so that the death of the keeper and of berthd costs it neither its terminal, nor its
// input, nor its last words, nor its exit code.
const (
	keptPidfd  = "pidfd"
	keptMaster = "master"
	keptStdin  = "stdin"
	keptStdout = "stdout"
	keptStderr = "stderr"
)

// keptKinds lists what is kept of a process.
func keptKinds(r *journal.Start) []string {
	switch {
	case !r.Managed:
		return []string{keptPidfd}
	case r.Terminal:
		return []string{keptPidfd, keptMaster}
	case r.Stdin:
		return []string{keptPidfd, keptStdout, keptStderr, keptStdin}
	default:
		return []string{keptPidfd, keptStdout, keptStderr}
	}
}

func keptName(kind string, seq uint64) string { return kind + "-" + strconv.FormatUint(seq, 10) }

// keep stores a file. Without it the process is as safe as without a service manager.
func (s *server) keep(p *process, kind string, fd sys.Raw) {
	if err := s.store.Put(keptName(kind, p.record.Seq), fd); err != nil {
		s.logger.Error("file is not kept for a successor", "process", p.record.ID, "file", kind, "error", err)
	}
}

func (s *server) keepStdio(p *process) error {
	if p.stdio == nil {
		return nil
	}
	stdin, stdout, stderr := keptStdin, keptStdout, keptStderr
	if p.record.Terminal {
		stdout = keptMaster
	}
	return p.stdio.Keep(func(in, out, errs sys.Raw) {
		s.keep(p, stdin, in)
		s.keep(p, stdout, out)
		s.keep(p, stderr, errs)
	})
}

// unkeep removes what is kept of a process that has ended.
func (s *server) unkeep(p *process) {
	for _, kind := range keptKinds(&p.record) {
		s.unkeepOne(p, kind)
	}
}

func (s *server) unkeepOne(p *process, kind string) {
	if err := s.store.Remove(keptName(kind, p.record.Seq)); err != nil {
		s.logger.Error("file is kept longer than it is needed", "process", p.record.ID, "file", kind, "error", err)
	}
}

// kept is what the service manager has handed back, by process and kind.
type kept map[uint64]map[string]sys.Raw

// sortKept gives names to what was handed back. Files that have none of ours, or one that is there twice, are in rest.
func sortKept(list []fdstore.Received) (k kept, rest []fdstore.Received) {
	k = make(kept)
	for _, r := range list {
		kind, number, ok := strings.Cut(r.Name, "-")
		seq, err := strconv.ParseUint(number, 10, 64)
		_, twice := k[seq][kind]
		if !ok || err != nil || twice {
			rest = append(rest, r)
			continue
		}
		if k[seq] == nil {
			k[seq] = make(map[string]sys.Raw)
		}
		k[seq][kind] = r.File
	}
	return k, rest
}

// take returns a file, which is the caller's from then on; NoFile if it was not kept.
func (k kept) take(seq uint64, kind string) sys.Raw {
	fd, ok := k[seq][kind]
	if !ok {
		return sys.NoFile
	}
	delete(k[seq], kind)
	return fd
}

// takeBack marks what was handed back as this process's own.
func takeBack(list []fdstore.Received) error {
	var errs []error
	for _, r := range list {
		errs = append(errs, r.File.SetCloseOnExec(true))
	}
	return errors.Join(errs...)
}

// dropKept closes what nobody has taken, and has the manager forget what is nobody's.
func (s *server) dropKept(k kept, rest []fdstore.Received) error {
	var errs []error
	for _, r := range rest {
		errs = append(errs, r.File.Close())
		if r.Name != "" {
			errs = append(errs, s.store.Remove(r.Name))
		}
	}
	known := make(map[uint64]bool)
	for _, p := range s.all() {
		known[p.record.Seq] = true
	}
	for seq, files := range k {
		for kind, fd := range files {
			errs = append(errs, fd.Close())
			if !known[seq] {
				errs = append(errs, s.store.Remove(keptName(kind, seq)))
			}
		}
	}
	return errors.Join(errs...)
}
