package stream

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	inputBuffer = 256 << 10
	// maxWindow is what a zstd frame may make the decoder keep; the format's tools need a flag to go beyond it
	// (zstd --ultra --long), and a frame could ask for more than the machine has.
	maxWindow = 128 << 20
)

// Decompress reads gzip, zstd or plain bytes. Which, the first bytes tell: media types are often wrong, and the diffID
// verifies the outcome either way. Broken compression is an error of kind Invalid; errors of src pass as they are.
func Decompress(src io.Reader) (io.ReadCloser, error) {
	in := &source{r: src}
	b := bufio.NewReaderSize(in, inputBuffer)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, in.explain("gzip", err)
		}
		return &decoder{Reader: z, in: in, format: "gzip", free: func() {}}, nil
	case isZstd(head):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, in.explain("zstd", err)
		}
		return &decoder{Reader: z, in: in, format: "zstd", free: z.Close}, nil
	}
	return io.NopCloser(b), nil
}

// isZstd knows a frame and the skippable frames that zstd:chunked layers may start with (RFC 8878, section 3.1).
func isZstd(head []byte) bool {
	return bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})
}

// source remembers its own error, so that a broken connection is not taken for broken compression.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *source) explain(format string, err error) error {
	if s.err != nil {
		return s.err
	}
	return errdefs.Invalid("decompress %s: %w", format, err)
}

type decoder struct {
	io.Reader
	in     *source
	format string
	free   func()
}

// Read implements io.Reader.
func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.in.explain(d.format, err)
	}
	return n, err
}

// Close frees the decoder. Errors come from Read only.
func (d *decoder) Close() error {
	d.free()
	return nil
}
