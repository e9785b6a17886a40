package verify

import (
	"errors"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	_ "crypto/sha256" // go-digest finds its algorithms among those linked in
	_ "crypto/sha512"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// UnknownSize is for streams whose length nobody promised.
const UnknownSize = -1

// Reader passes a stream through and ends it with io.EOF only if size and digest are as expected. A wrong one ends it
// with an error of kind DataLoss instead, at the latest where io.EOF would be: whoever reads to the end and sees no
// error has read the right bytes.
type Reader struct {
	src  io.Reader
	what string
	want digest.Digest
	size int64
	hash hash.Hash
	read int64
	err  error // sticky
}

// NewReader expects size bytes (or [UnknownSize]) with a digest, which must have been checked by its parser. The text
// what starts the error, e.g. "layer sha256:…".
func NewReader(src io.Reader, what string, want digest.Digest, size int64) *Reader {
	return &Reader{src: src, what: what, want: want, size: size, hash: want.Algorithm().Hash()}
}

// Bytes is the count of bytes read so far.
func (r *Reader) Bytes() int64 { return r.read }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p)
	r.hash.Write(p[:n])
	r.read += int64(n)
	switch {
	case r.size >= 0 && r.read > r.size:
		n, err = 0, errdefs.New(errdefs.ErrDataLoss, "%s: is longer than the %d bytes that were promised", r.what, r.size)
	case errors.Is(err, io.EOF):
		err = r.end()
	}
	r.err = err
	return n, err
}

// end decides what the end of the source means.
func (r *Reader) end() error {
	if r.size >= 0 && r.read < r.size {
		return errdefs.New(errdefs.ErrDataLoss, "%s: ends after %d of %d bytes", r.what, r.read, r.size)
	}
	if got := digest.NewDigest(r.want.Algorithm(), r.hash); got != r.want {
		return errdefs.New(errdefs.ErrDataLoss, "%s: the content's digest is %s, not the %s that was promised", r.what, got, r.want)
	}
	return io.EOF
}

// Bytes checks a whole blob.
func Bytes(data []byte, what string, want digest.Digest) error {
	if got := want.Algorithm().FromBytes(data); got != want {
		return errdefs.New(errdefs.ErrDataLoss, "%s: the content's digest is %s, not the %s that was promised", what, got, want)
	}
	return nil
}
