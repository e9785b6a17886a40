package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// enoughProgress between two breakdowns makes the count of attempts start again.
const enoughProgress = 1 << 20

// Download reads one blob from an offset to its promised size. Breakdowns and stalls are healed out of sight: it goes on
// at the byte where it was, at the same host or the next. It verifies the size but not the digest. It belongs to one
// goroutine.
type Download struct {
	session *Session
	blob    ocispec.Descriptor
	offset  int64

	// What needs the context of the whole download, for which io.Reader has no room.
	ended func() error
	pause func(time.Duration) error
	ask   func(*endpoint, int64) (*watched, error)

	hosts   []*endpoint // left to try, the first is being asked
	tried   refusals
	broken  int   // attempts at the first host
	mark    int64 // offset at its last breakdown
	body    *watched
	sources []*endpoint // that delivered bytes
}

// Download starts reading a blob at an offset, which may be that of an earlier, broken download. Nothing is sent before
// the first Read. An error of Read is the context's, or lists what each host answered.
func (s *Session) Download(ctx context.Context, blob ocispec.Descriptor, offset int64) *Download {
	d := &Download{session: s, blob: blob, offset: offset, mark: offset}
	d.ended = ctx.Err
	d.pause = func(wait time.Duration) error { return pause(ctx, wait) }
	d.ask = func(e *endpoint, offset int64) (body *watched, err error) {
		err = s.client.retry(ctx, e.host.Addr, func(ctx context.Context) (err error) {
			body, err = e.blob(ctx, blob, offset)
			return err
		})
		return body, err
	}
	for _, e := range s.endpoints {
		if e.host.Pull && !e.distrusted.Load() {
			d.hosts = append(d.hosts, e)
		}
	}
	return d
}

// Read implements io.Reader.
func (d *Download) Read(p []byte) (int, error) {
	for {
		if d.offset >= d.blob.Size {
			return 0, io.EOF
		}
		if d.body == nil {
			if err := d.open(); err != nil {
				return 0, d.explain(err)
			}
		}
		n, err := d.body.Read(p[:min(int64(len(p)), d.blob.Size-d.offset)])
		d.offset += int64(n)
		if err != nil && d.offset < d.blob.Size {
			if err := d.interrupted(err); err != nil {
				return n, d.explain(err)
			}
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (d *Download) explain(err error) error {
	return fmt.Errorf("download %s of %s at byte %d of %d: %w", d.blob.Digest, d.session.ref.Name(), d.offset, d.blob.Size, err)
}

// Close ends the download.
func (d *Download) Close() error {
	if d.body == nil {
		return nil
	}
	body := d.body
	d.body = nil
	err := body.Close()
	if d.session.closed.Load() { // the pull that began this is over; others wanted the blob too
		d.session.Close()
	}
	return err
}

// Distrust makes later downloads of the session avoid the hosts that this one's bytes came from, after the digest
// turned out to be wrong. It reports whether any other is left.
func (d *Download) Distrust() bool {
	for _, e := range d.sources {
		e.distrusted.Store(true)
	}
	for _, e := range d.session.endpoints {
		if e.host.Pull && !e.distrusted.Load() {
			return true
		}
	}
	return false
}

// open asks for the rest of the blob, host after host.
func (d *Download) open() error {
	for len(d.hosts) > 0 {
		var err error
		if d.body, err = d.ask(d.hosts[0], d.offset); err == nil {
			d.sources = append(d.sources, d.hosts[0])
			return nil
		}
		if err := d.next(err); err != nil {
			return err
		}
	}
	if len(d.tried.err) == 0 {
		return errNoHost(d.session.ref.Domain)
	}
	return &d.tried
}

// interrupted decides what a broken body means: the same host again, the next host, or the end.
func (d *Download) interrupted(cause error) error {
	cause = errors.Join(d.body.failure(cause), d.Close())
	if err := d.ended(); err != nil {
		return err
	}
	if d.offset-d.mark >= enoughProgress {
		d.broken = 0
	}
	d.mark = d.offset
	d.broken++
	if f, ok := errors.AsType[*failure](cause); !ok || !f.transient || d.broken >= d.session.client.timing.Attempts {
		return d.next(cause)
	}
	return d.pause(d.session.client.backoff(d.broken))
}

// next gives the first host up.
func (d *Download) next(cause error) error {
	if err := d.ended(); err != nil {
		return err
	}
	d.tried.add(d.hosts[0], cause)
	d.hosts, d.broken = d.hosts[1:], 0
	return nil
}

// blob opens a blob at an offset. Where the server ignores ranges, what comes before it is read and dropped.
func (e *endpoint) blob(outer context.Context, blob ocispec.Descriptor, offset int64) (*watched, error) {
	ctx, cancel := context.WithCancelCause(outer)
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	opening := time.AfterFunc(e.client.timing.Metadata, func() { cancel(errStalled) }) // also bounds a slow token server
	defer opening.Stop()
	a, err := e.do(ctx, http.MethodGet, "blobs/"+blob.Digest.String(), header, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	w := newWatched(ctx, cancel, e, a.body)
	if err := position(a, w, blob, offset); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// position checks what part of the blob the answer is, and skips to the offset.
func position(a *answer, body *watched, blob ocispec.Descriptor, offset int64) error {
	start := int64(0)
	if a.status == http.StatusPartialContent {
		got, total := contentRange(a.header.Get("Content-Range"))
		if got != offset || total >= 0 && total != blob.Size {
			return dataLoss("asked for bytes %d-%d, was answered with Content-Range %q", offset, blob.Size-1, a.header.Get("Content-Range"))
		}
		start = offset
	}
	if a.length >= 0 && a.length != blob.Size-start {
		return dataLoss("blob %s has %d bytes, not the %d that were promised", blob.Digest, start+a.length, blob.Size)
	}
	if start == offset {
		return nil
	}
	if _, err := io.CopyN(io.Discard, body, offset); err != nil {
		return body.failure(err)
	}
	return nil
}

// contentRange reads "bytes 5-9/10" (RFC 9110, section 14.4); -1 for what isn't there.
func contentRange(value string) (start, total int64) {
	rest, found := strings.CutPrefix(value, "bytes ")
	span, size, _ := strings.Cut(rest, "/")
	first, _, isSpan := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !found || !isSpan || err != nil || start < 0 {
		return -1, -1
	}
	if total, err = strconv.ParseInt(size, 10, 64); err != nil {
		total = -1
	}
	return start, total
}
