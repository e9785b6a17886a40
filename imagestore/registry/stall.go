package registry

import (
	"context"
	"errors"
	"io"
	"time"
)

// watched is a body that must keep coming: at least StallBytes in any StallAfter that the reader spends waiting for it.
// Time in which the reader does other things doesn't count, so a slow disk is not taken for a slow registry; and one byte
// now and then is not taken for progress.
type watched struct {
	timing  Timing
	cancel  context.CancelCauseFunc
	explain func(error) error
	body    io.ReadCloser

	timer *time.Timer
	left  time.Duration // of the window
	got   int64         // in the window
}

func newWatched(ctx context.Context, cancel context.CancelCauseFunc, from *endpoint, body io.ReadCloser) *watched {
	w := &watched{timing: from.client.timing, cancel: cancel, body: body, left: from.client.timing.StallAfter}
	w.explain = func(err error) error { return from.scrub.broken(ctx, err) }
	w.timer = time.AfterFunc(time.Hour, func() { cancel(errStalled) })
	w.timer.Stop()
	return w
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	start := time.Now()
	w.timer.Reset(w.left)
	n, err := w.body.Read(p)
	w.timer.Stop()
	w.left -= time.Since(start)
	w.got += int64(n)
	if w.got >= w.timing.StallBytes {
		w.left, w.got = w.timing.StallAfter, 0
	}
	if w.left <= 0 {
		w.cancel(errStalled)
	}
	return n, err
}

// failure explains an error of Read.
func (w *watched) failure(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return w.explain(err)
}

// Close ends the request.
func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.body.Close()
}
