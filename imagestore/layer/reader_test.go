package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// archive builds a tar; a File's content is size bytes of 'x'.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		if h.Typeflag == tar.TypeXGlobalHeader {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1e9, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("header %q: %v", h.Name, err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, strings.Repeat("x", int(h.Size))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// spell reads a layer to its end and spells its entries, one a line.
func spell(r *Reader) (string, error) {
	var b strings.Builder
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%s %s", e.Kind, e.Path)
		if e.Target != "" {
			fmt.Fprintf(&b, " -> %s", e.Target)
		}
		if e.Kind == File {
			n, err := io.Copy(io.Discard, r)
			if err != nil {
				return b.String(), err
			}
			fmt.Fprintf(&b, " %d", n)
		}
		for _, x := range e.Xattrs {
			fmt.Fprintf(&b, " %s=%q", x.Name, x.Value)
		}
		b.WriteString("\n")
	}
}

func pax(records ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(records); i += 2 {
		m[records[i]] = records[i+1]
	}
	return m
}

func TestReader(t *testing.T) {
	caps := "\x01\x00\x00\x02" + strings.Repeat("\x00", 16)
	caps3 := "\x01\x00\x00\x03" + strings.Repeat("\x00", 20)
	deep := strings.Repeat("d/", 1500) + "f"
	for _, c := range []struct {
		name    string
		headers []tar.Header
		limits  Limits
		want    string
		kind    error // of the error; nil: none
	}{
		{name: "plain", headers: []tar.Header{{Name: "./", Typeflag: tar.TypeDir}, {Name: "./a//b/./c", Size: 3}}, want: "folder .\nfile a/b/c 3\n"},
		{name: "absolute name", headers: []tar.Header{{Name: "/etc/passwd"}}, want: "file etc/passwd 0\n"},
		{name: "parent first", headers: []tar.Header{{Name: "../x"}}, kind: errdefs.ErrInvalid},
		{name: "parent within", headers: []tar.Header{{Name: "a/../../x"}}, kind: errdefs.ErrInvalid},
		{name: "parent that stays inside", headers: []tar.Header{{Name: "a/../x"}}, kind: errdefs.ErrInvalid},
		{name: "root as a file", headers: []tar.Header{{Name: "/."}}, kind: errdefs.ErrInvalid},
		{name: "root as a link", headers: []tar.Header{{Name: ".", Typeflag: tar.TypeSymlink, Linkname: "/"}}, kind: errdefs.ErrInvalid},
		{name: "root removed", headers: []tar.Header{{Name: ".wh.."}}, kind: errdefs.ErrInvalid},
		{name: "parent removed", headers: []tar.Header{{Name: "a/.wh..."}}, kind: errdefs.ErrInvalid},
		{name: "whiteout of nothing", headers: []tar.Header{{Name: "a/.wh."}}, kind: errdefs.ErrInvalid},
		{name: "whiteouts", headers: []tar.Header{{Name: ".wh.a"}, {Name: "d/.wh.b", Size: 7}, {Name: "d/.wh..wh..opq"}, {Name: ".wh..wh..opq"}}, want: "whiteout a\nwhiteout d/b\nopaque marker d\nopaque marker .\n"},
		{name: "whiteout as a folder on the way", headers: []tar.Header{{Name: ".wh.a/b"}}, kind: errdefs.ErrInvalid},
		{name: "names of AUFS", headers: []tar.Header{{Name: ".wh..wh.plnk", Typeflag: tar.TypeDir}, {Name: "b", Size: 1}}, want: "file b 1\n"},
		{name: "folder inside names of AUFS", headers: []tar.Header{{Name: ".wh..wh.plnk/1.2"}}, kind: errdefs.ErrInvalid},
		{name: "overlayfs whiteout", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeChar}}, kind: errdefs.ErrInvalid},
		{name: "devices", headers: []tar.Header{{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, {Name: "b", Typeflag: tar.TypeBlock}, {Name: "p", Typeflag: tar.TypeFifo}}, want: "character device n\nblock device b\nFIFO p\n"},
		{name: "major out of range", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeChar, Devmajor: 4096}}, kind: errdefs.ErrInvalid},
		{name: "minor out of range", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeBlock, Devminor: 1 << 20}}, kind: errdefs.ErrInvalid},
		{name: "hard link out", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeLink, Linkname: "../../etc/shadow"}}, kind: errdefs.ErrInvalid},
		{name: "hard link to the root", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeLink, Linkname: "/"}}, kind: errdefs.ErrInvalid},
		{name: "hard link, absolute", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeLink, Linkname: "/b"}}, want: "hard link a -> b\n"},
		{name: "symbolic links say what they like", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "../../../proc/self/root"}}, want: "symbolic link a -> ../../../proc/self/root\n"},
		{name: "symbolic link to nothing", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeSymlink}}, kind: errdefs.ErrInvalid},
		{name: "symbolic link too long", headers: []tar.Header{{Name: "a", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("x", 4096)}}, kind: errdefs.ErrInvalid},
		{name: "uid 2^31", headers: []tar.Header{{Name: "a", Uid: 1 << 31}}, want: "file a 0\n"},
		{name: "uid -1", headers: []tar.Header{{Name: "a", Uid: -1, Format: tar.FormatGNU}}, kind: errdefs.ErrInvalid},
		{name: "uid 2^32-1", headers: []tar.Header{{Name: "a", Uid: 1<<32 - 1}}, kind: errdefs.ErrInvalid},
		{name: "gid 2^32", headers: []tar.Header{{Name: "a", Gid: 1 << 32}}, kind: errdefs.ErrInvalid},
		{name: "long part", headers: []tar.Header{{Name: strings.Repeat("x", 256)}}, kind: errdefs.ErrInvalid},
		{name: "255 bytes", headers: []tar.Header{{Name: strings.Repeat("x", 255)}}, want: "file " + strings.Repeat("x", 255) + " 0\n"},
		{name: "long name", headers: []tar.Header{{Name: strings.Repeat("xx/", 2000) + "f"}}, kind: errdefs.ErrInvalid},
		{name: "deep", headers: []tar.Header{{Name: deep}}, kind: errdefs.ErrInvalid},
		{name: "no UTF-8", headers: []tar.Header{{Name: "\xff\xfe", Format: tar.FormatGNU}}, want: "file \xff\xfe 0\n"},
		{name: "global header", headers: []tar.Header{{Typeflag: tar.TypeXGlobalHeader, PAXRecords: pax("path", "../../evil")}, {Name: "a"}}, want: "file a 0\n"},
		{name: "unknown type", headers: []tar.Header{{Name: "a", Typeflag: 'Z'}}, kind: errdefs.ErrInvalid},
		{name: "overlay's attributes", headers: []tar.Header{{Name: "d", Typeflag: tar.TypeDir, PAXRecords: pax("SCHILY.xattr.trusted.overlay.redirect", "/etc", "SCHILY.xattr.user.overlay.opaque", "y", "SCHILY.xattr.trusted.x", "1", "SCHILY.xattr.security.selinux", "l")}}, want: "folder d\n"},
		{name: "attributes", headers: []tar.Header{{Name: "f", PAXRecords: pax("SCHILY.xattr.user.b", "2", "SCHILY.xattr.user.a", "1", "SCHILY.xattr.security.capability", caps)}}, want: "file f 0 security.capability=" + fmt.Sprintf("%q", caps) + " user.a=\"1\" user.b=\"2\"\n"},
		{name: "capability of a user namespace", headers: []tar.Header{{Name: "f", PAXRecords: pax("SCHILY.xattr.security.capability", caps3)}}, want: "file f 0 security.capability=" + fmt.Sprintf("%q", caps3) + "\n"},
		{name: "bad capability", headers: []tar.Header{{Name: "f", PAXRecords: pax("SCHILY.xattr.security.capability", "xxxx")}}, kind: errdefs.ErrInvalid},
		{name: "too many attributes", headers: []tar.Header{{Name: "f", PAXRecords: pax("SCHILY.xattr.user.a", strings.Repeat("x", 70<<10))}}, kind: errdefs.ErrExhausted},
		{name: "entries", headers: []tar.Header{{Name: "a"}, {Name: "b"}, {Name: "c"}}, limits: Limits{Entries: 2}, want: "file a 0\nfile b 0\n", kind: errdefs.ErrExhausted},
		{name: "large file", headers: []tar.Header{{Name: "a", Size: 100}}, limits: Limits{FileBytes: 99}, kind: errdefs.ErrExhausted},
		{name: "large layer", headers: []tar.Header{{Name: "a", Size: 3000}, {Name: "b", Size: 3000}}, limits: Limits{TotalBytes: 5000}, want: "file a 3000\n", kind: errdefs.ErrExhausted},
		{name: "long stream of small things", headers: []tar.Header{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}, limits: Limits{TotalBytes: 1500}, want: "file a 0\nfile b 0\n", kind: errdefs.ErrExhausted},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := spell(NewReader(bytes.NewReader(archive(t, c.headers...)), c.limits))
			if c.kind == nil && err != nil || !errors.Is(err, c.kind) {
				t.Fatalf("error %v, want %v", err, c.kind)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReaderClampsTimes(t *testing.T) {
	for _, c := range []struct{ in, want int64 }{{-1 << 40, -1 << 31}, {0, 0}, {1 << 50, 1<<34 - 1}} {
		r := NewReader(bytes.NewReader(archive(t, tar.Header{Name: "a", ModTime: time.Unix(c.in, 0), Format: tar.FormatPAX})), Limits{})
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got := e.ModTime.Unix(); got != c.want {
			t.Errorf("mtime %d became %d, want %d", c.in, got, c.want)
		}
	}
}

// TestReaderCut cuts a layer at every byte. What is given out without an error is whole entries of the layer; that
// later ones are missing is for the digest to tell.
func TestReaderCut(t *testing.T) {
	whole := archive(t, tar.Header{Name: strings.Repeat("long/", 60) + "f", Size: 700}, tar.Header{Name: "b", Size: 10}, tar.Header{Name: "c"})
	full, err := spell(NewReader(bytes.NewReader(whole), Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		got, err := spell(NewReader(bytes.NewReader(whole[:n]), Limits{}))
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Fatalf("cut at %d: error %v, want ErrInvalid", n, err)
		}
		if err == nil && !strings.HasPrefix(full, got) {
			t.Fatalf("cut at %d: %q", n, got)
		}
	}
}

// TestReaderTellsSourceErrors: what the source says must not be taken for a damaged tar.
func TestReaderTellsSourceErrors(t *testing.T) {
	broken := errors.New("connection reset")
	whole := archive(t, tar.Header{Name: "a", Size: 5000})
	for _, n := range []int{0, 100, 512, 3000} {
		_, err := spell(NewReader(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken)), Limits{}))
		if !errors.Is(err, broken) || errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("after %d bytes: %v, want %v", n, err, broken)
		}
	}
}

// TestReaderDrains: digests over the stream are complete only if what follows the archive is read, too.
func TestReaderDrains(t *testing.T) {
	source := bytes.NewReader(append(archive(t, tar.Header{Name: "a"}), make([]byte, 1<<20)...))
	if _, err := spell(NewReader(source, Limits{})); err != nil {
		t.Fatal(err)
	}
	if source.Len() != 0 {
		t.Errorf("%d bytes were not read", source.Len())
	}
}

func TestReaderSparse(t *testing.T) {
	// GNU format 1.0: the map is the first block of the content: one extent of 4 bytes at 1 MiB.
	sparseMap := "1\n1048576\n4\n"
	content := sparseMap + strings.Repeat("\x00", 512-len(sparseMap)) + "data"
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	h := &tar.Header{
		Name: "GNUSparseFile.0/s", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX,
		PAXRecords: pax("SCHILY.test", "1"),
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// Go's writer refuses GNU's records, so the placeholder record is replaced by them.
	raw := bytes.Replace(buf.Bytes(), record("SCHILY.test", "1"), nil, 1)
	raw = withPAX(t, raw, record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0"), record("GNU.sparse.name", "s"), record("GNU.sparse.realsize", "1048580"))
	r := NewReader(bytes.NewReader(raw), Limits{})
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Sparse || e.Path != "s" || e.Size != 1048580 || len(data) != 1048580 || string(data[1048576:]) != "data" {
		t.Errorf("entry %+v with %d bytes", e, len(data))
	}
	if _, err := NewReader(bytes.NewReader(raw), Limits{FileBytes: 1 << 20}).Next(); !errors.Is(err, errdefs.ErrExhausted) {
		t.Errorf("a sparse file beyond the limit: %v, want ErrExhausted", err)
	}
}

// record spells a PAX record: "LENGTH KEY=VALUE\n", the length counting itself.
func record(key, value string) []byte {
	n := len(key) + len(value) + 3
	for {
		s := fmt.Sprintf("%d %s=%s\n", n, key, value)
		if len(s) == n {
			return []byte(s)
		}
		n = len(s)
	}
}

// withPAX replaces the content of the first extended header of raw, which must fit into one block.
func withPAX(t *testing.T, raw []byte, records ...[]byte) []byte {
	t.Helper()
	body := bytes.Join(records, nil)
	out := make([]byte, 1024)
	copy(out, raw[:512])
	copy(out[512:], body)
	copy(out[124:136], fmt.Sprintf("%011o\x00", len(body)))
	copy(out[148:156], "        ")
	sum := 0
	for _, b := range out[:512] {
		sum += int(b)
	}
	copy(out[148:156], fmt.Sprintf("%06o\x00 ", sum))
	// raw lost a record, so what follows its extended header is found by its name.
	i := bytes.Index(raw[512:], []byte("GNUSparseFile.0/s"))
	if i < 0 {
		t.Fatal("no second header")
	}
	rest := raw[512+i:]
	if start := len(raw) - len(rest); start%512 != 0 {
		rest = append([]byte{}, rest...)
	}
	return append(out, rest...)
}

func FuzzReader(f *testing.F) {
	f.Add(archive(f, tar.Header{Name: "a/b", Size: 10, PAXRecords: pax("SCHILY.xattr.user.a", "1")}, tar.Header{Name: ".wh.x"}, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "a/b"}))
	f.Add(archive(f, tar.Header{Name: strings.Repeat("long/", 60) + "f", Size: 700, Format: tar.FormatGNU}))
	f.Add([]byte{})
	limits := Limits{Entries: 1000, TotalBytes: 1 << 20, FileBytes: 1 << 18, XattrBytes: 1000}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data), limits)
		var total int64
		for range 1001 {
			e, err := r.Next()
			if err != nil {
				if _, again := r.Next(); again == nil {
					t.Fatal("an error was not final")
				}
				return
			}
			check(t, e)
			if e.Kind == File {
				n, err := io.Copy(io.Discard, r)
				if err == nil && n != e.Size {
					t.Fatalf("%d bytes were read of %d", n, e.Size)
				}
				if total += n; total > limits.TotalBytes {
					t.Fatalf("%d bytes are beyond the limit", total)
				}
			}
		}
		t.Fatal("more entries than the limit")
	})
}

// check states what every entry that a Reader gives out must fulfil.
func check(t *testing.T, e *Entry) {
	t.Helper()
	paths := []string{e.Path}
	if e.Kind == Hardlink {
		paths = append(paths, e.Target)
	}
	for _, p := range paths {
		if p == "." && (e.Kind == Dir || e.Kind == Opaque) {
			continue
		}
		for part := range strings.SplitSeq(p, "/") {
			if part == "" || part == "." || part == ".." || len(part) > 255 || strings.Contains(part, "\x00") {
				t.Fatalf("path %q", p)
			}
		}
	}
	if e.Kind == 0 || e.Kind > Opaque || e.Mode > 0o7777 || e.UID == 1<<32-1 || e.Kind == Char && e.Major == 0 && e.Minor == 0 {
		t.Fatalf("entry %+v", e)
	}
	for _, x := range e.Xattrs {
		if strings.HasPrefix(x.Name, "trusted.") || strings.Contains(x.Name, "overlay.") {
			t.Fatalf("attribute %q", x.Name)
		}
	}
}
