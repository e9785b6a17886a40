package stdio

import (
	"errors"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
	"github.com/berth-runtime/berth/runtime/logs"
)

// Freeze stops all movement until release is closed. It does not wait: taken is called once nothing moves any more, with what a
// successor continues from. Its files stay this Stdio's.
func (s *Stdio) Freeze(release <-chan struct{}, taken func(*handover.Stdio, error)) {
	s.lane.Do(func() {
		select {
		case <-release: // given up before it was our turn
			return
		default:
		}
		taken(s.snapshot())
		<-release
	})
}

func (s *Stdio) snapshot() (_ *handover.Stdio, err error) {
	h := &handover.Stdio{
		Log: sys.NoFile, In: s.in.fd, Out: [2]sys.Raw{s.out[0].fd, s.out[1].fd},
		Closing: s.in.closing, Finished: s.finished, Partial: s.partial, Lost: uint64(s.lost),
	}
	if s.cfg.Terminal {
		h.In = sys.NoFile
	}
	if s.log != nil {
		h.Log, err = s.log.Number()
	}
	for _, c := range s.clients {
		h.Clients = append(h.Clients, handover.Client{
			In: c.in, Pending: c.pending,
			Out: [2]sys.Raw{c.out[0].fd, c.out[1].fd}, Queue: [2][]byte{c.out[0].queue, c.out[1].queue}, First: c.first,
		})
	}
	return h, err
}

// Keep calls use with what a successor could not open by itself: the writing end of the input, the FIFOs of the output, or, as the
// second, a terminal's master. They are good until use returns.
func (s *Stdio) Keep(use func(in, out, errs sys.Raw)) error {
	return s.lane.Wait(func() error {
		in := s.in.fd
		if s.cfg.Terminal {
			in = sys.NoFile
		}
		use(in, s.out[0].fd, s.out[1].fd)
		return nil
	})
}

// Continue is the other end of [Stdio.Freeze], in the program that this process has become: it takes over all files, also on error.
// Nothing moves before Serve.
func Continue(shared *Shared, cfg Config, cursor *Cursor, h *handover.Stdio) (_ *Stdio, err error) {
	s := newStdio(shared, cfg, cursor)
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return errors.Join(s.closeOwn(), s.closeClients()) })
	s.out[0].fd, s.out[1].fd, s.in.fd = h.Out[0], h.Out[1], h.In
	if cfg.Terminal {
		s.in.fd = h.Out[0]
	}
	s.in.closing, s.finished, s.partial, s.lost = h.Closing, h.Finished, h.Partial, int(h.Lost)
	for _, c := range h.Clients {
		s.clients = append(s.clients, &client{
			in: c.In, pending: c.Pending, out: [2]sink{{fd: c.Out[0], queue: c.Queue[0]}, {fd: c.Out[1], queue: c.Queue[1]}}, first: c.First,
		})
	}
	if h.Log != sys.NoFile {
		f := h.Log.File(cfg.LogPath)
		if s.log, err = logs.Continue(f, cfg.LogPath); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	cu.Release()
	return s, nil
}
