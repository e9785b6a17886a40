package layer

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Reader goes through a layer's entries.
type Reader struct {
	stream  *limitedReader
	tar     *tar.Reader
	limits  Limits
	entries int64
	bytes   int64 // of file contents, announced so far
	entry   Entry
	err     error // what Next returned last, if not nil
}

// NewReader returns a reader of an uncompressed tar.
func NewReader(r io.Reader, limits Limits) *Reader {
	limits = limits.withDefaults()
	s := &limitedReader{r: r, left: limits.TotalBytes}
	return &Reader{stream: s, tar: tar.NewReader(bufio.NewReaderSize(s, 256<<10)), limits: limits}
}

// Next returns the next entry, which is valid until the call after. At the end of the layer it reads what follows the
// archive, so that digests computed on the way are complete, and returns io.EOF.
//
// Errors: errdefs.ErrInvalid for what no image should hold, errdefs.ErrExhausted beyond a limit, else what the
// underlying reader said. An error is final.
func (r *Reader) Next() (*Entry, error) {
	if r.err != nil {
		return nil, r.err
	}
	for {
		hdr, err := r.tar.Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // that one depends on GODEBUG; names are checked below
			return nil, r.fail(r.ended(err))
		}
		if r.entries++; r.entries > r.limits.Entries {
			return nil, r.fail(errdefs.New(errdefs.ErrExhausted, "read layer: more than %d entries", r.limits.Entries))
		}
		keep, err := r.convert(hdr)
		if err != nil {
			return nil, r.fail(fmt.Errorf("read layer: entry %d %s: %w", r.entries, quote(hdr.Name), err))
		}
		if keep {
			return &r.entry, nil
		}
	}
}

// Read reads the content of the present File.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.tar.Read(p)
	//lint:ignore errorlint a source whose error wraps io.EOF has failed, and must not be taken for the end
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read layer: content of %s: %w", quote(r.entry.Path), r.broken(err))
	}
	return n, err
}

func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

// ended handles the end of the archive, expected or not.
func (r *Reader) ended(err error) error {
	//lint:ignore errorlint a source whose error wraps io.EOF has failed, and must not be taken for the end
	if err != io.EOF {
		return fmt.Errorf("read layer: after entry %d: %w", r.entries, r.broken(err))
	}
	if _, err := io.Copy(io.Discard, r.stream); err != nil {
		return fmt.Errorf("read layer: after its end: %w", err)
	}
	return io.EOF
}

// broken tells a bad archive from a failing source: the source's error wins.
func (r *Reader) broken(err error) error {
	if r.stream.err != nil {
		return r.stream.err
	}
	return errdefs.New(errdefs.ErrInvalid, "the tar is damaged or cut: %w", err)
}

// convert checks a header and fills r.entry; false means that the entry has nothing to do.
func (r *Reader) convert(hdr *tar.Header) (keep bool, err error) {
	if hdr.Typeflag == tar.TypeXGlobalHeader { // comments of git-archive; its other records are not honoured by any peer
		return false, nil
	}
	r.entry = Entry{Mode: uint32(hdr.Mode) & 0o7777, ModTime: clampTime(hdr.ModTime)}
	e := &r.entry
	if e.Path, err = r.path(hdr.Name); err != nil {
		return false, err
	}
	marker, err := e.marker()
	if err != nil || marker {
		return e.Kind != 0, err
	}
	if e.UID, err = id("uid", hdr.Uid); err != nil {
		return false, err
	}
	if e.GID, err = id("gid", hdr.Gid); err != nil {
		return false, err
	}
	if err := r.kind(e, hdr); err != nil {
		return false, err
	}
	if e.Path == "." && e.Kind != Dir {
		return false, errdefs.Invalid("the root of a layer can't be a %s", e.Kind)
	}
	e.Xattrs, err = r.xattrs(e.Kind, hdr.PAXRecords)
	return true, err
}

func (r *Reader) kind(e *Entry, hdr *tar.Header) (err error) {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.Kind = File
		return r.file(e, hdr)
	case tar.TypeDir:
		e.Kind = Dir
	case tar.TypeSymlink:
		e.Kind, e.Target = Symlink, hdr.Linkname
		if e.Target == "" || len(e.Target) >= r.limits.PathBytes || strings.Contains(e.Target, "\x00") {
			return errdefs.Invalid("symbolic link to %s", quote(e.Target))
		}
	case tar.TypeLink:
		e.Kind = Hardlink
		if e.Target, err = r.path(hdr.Linkname); err != nil {
			return fmt.Errorf("hard link: %w", err)
		}
		if e.Target == "." {
			return errdefs.Invalid("hard link to the root of the layer")
		}
	case tar.TypeChar:
		e.Kind = Char
		return e.device(hdr)
	case tar.TypeBlock:
		e.Kind = Block
		return e.device(hdr)
	case tar.TypeFifo:
		e.Kind = FIFO
	default:
		return errdefs.Invalid("unknown type %q", hdr.Typeflag)
	}
	return nil
}

func (r *Reader) file(e *Entry, hdr *tar.Header) error {
	e.Size = hdr.Size
	e.Sparse = hdr.Typeflag == tar.TypeGNUSparse || hdr.PAXRecords["GNU.sparse.major"] != "" || hdr.PAXRecords["GNU.sparse.map"] != ""
	if e.Size < 0 {
		return errdefs.Invalid("size %d", e.Size)
	}
	if e.Size > r.limits.FileBytes {
		return errdefs.New(errdefs.ErrExhausted, "a file of %d bytes; the limit is %d", e.Size, r.limits.FileBytes)
	}
	if e.Size > r.limits.TotalBytes-r.bytes {
		return errdefs.New(errdefs.ErrExhausted, "the layer unpacks to more than %d bytes, its limit", r.limits.TotalBytes)
	}
	r.bytes += e.Size
	return nil
}

// device checks the numbers against the kernel's widths (MKDEV: 12 and 20 bits). Nodes are kept: whether one may be
// opened is up to the mount and to the container's device rules, never to who unpacked it. Except for 0:0, which is no
// device but overlayfs's own spelling of a whiteout.
func (e *Entry) device(hdr *tar.Header) error {
	if hdr.Devmajor < 0 || hdr.Devmajor >= 1<<12 || hdr.Devminor < 0 || hdr.Devminor >= 1<<20 {
		return errdefs.Invalid("device number %d:%d is out of range", hdr.Devmajor, hdr.Devminor)
	}
	if e.Kind == Char && hdr.Devmajor == 0 && hdr.Devminor == 0 {
		return errdefs.Invalid("character device 0:0, an overlayfs whiteout: OCI layers spell it .wh.NAME")
	}
	e.Major, e.Minor = uint32(hdr.Devmajor), uint32(hdr.Devminor)
	return nil
}

// id accepts what a file can be owned by. 2^32-1 is "no change" to chown(2).
func id(what string, n int) (uint32, error) {
	if n < 0 || int64(n) >= 1<<32-1 {
		return 0, errdefs.Invalid("%s %d is out of range", what, n)
	}
	return uint32(n), nil
}

// clampTime brings a time into the range of the file systems that layers are kept on, as the kernel itself would.
func clampTime(t time.Time) time.Time {
	lowest, highest := time.Unix(-1<<31, 0), time.Unix(1<<34-1, 0)
	switch {
	case t.Before(lowest):
		return lowest
	case t.After(highest):
		return highest
	}
	return t
}

// limitedReader bounds the stream and remembers the source's own error.
type limitedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		n += int(l.left)
		err = errdefs.New(errdefs.ErrExhausted, "the tar is longer than its limit")
	}
	//lint:ignore errorlint a source whose error wraps io.EOF has failed, and must not be taken for the end
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}
