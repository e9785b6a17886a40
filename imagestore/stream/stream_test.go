package stream_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/berth-runtime/berth/imagestore/stream"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func random(n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(p)
	return p
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func TestDecompress(t *testing.T) {
	data := random(3 << 20)
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9}
	for name, c := range map[string]struct{ in, want []byte }{
		"gzip":            {gzipped(t, data), data},
		"gzip twice":      {append(gzipped(t, data[:100]), gzipped(t, data[100:])...), data},
		"zstd":            {zstded(t, data), data},
		"zstd, skippable": {append(skippable, zstded(t, data)...), data},
		"plain":           {data, data},
		"short":           {data[:3], data[:3]},
		"empty":           {nil, nil},
	} {
		r, err := stream.Decompress(iotest.HalfReader(bytes.NewReader(c.in)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		a := stream.NewAhead(r)
		got, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if err := errors.Join(a.Close(), r.Close()); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func TestBrokenCompressionAndBrokenSourceAreToldApart(t *testing.T) {
	cause := errors.New("connection lost")
	for name, whole := range map[string][]byte{"gzip": gzipped(t, random(1<<20)), "zstd": zstded(t, random(1<<20))} {
		bad := bytes.Clone(whole)
		for i := 1000; i < 2000; i++ {
			bad[i] ^= 0x55
		}
		bad = bad[:len(bad)-100]
		for what, c := range map[string]struct {
			src  io.Reader
			want error
		}{
			"garbled":  {bytes.NewReader(bad), errdefs.ErrInvalid},
			"cut":      {bytes.NewReader(whole[:len(whole)/2]), errdefs.ErrInvalid},
			"trailing": {io.MultiReader(bytes.NewReader(whole), bytes.NewReader([]byte("garbage"))), errdefs.ErrInvalid},
			"lost":     {io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), iotest.ErrReader(cause)), cause},
		} {
			r, err := stream.Decompress(c.src)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				if closeErr := r.Close(); closeErr != nil {
					t.Errorf("%s %s: close: %v", name, what, closeErr)
				}
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
}

func TestAheadEndsEarly(t *testing.T) {
	r, w := io.Pipe()
	a := stream.NewAhead(r)
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.CloseWithError(errors.New("cancelled")); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(gzipped(f, []byte("hello")))
	f.Add(zstded(f, []byte("hello")))
	f.Add([]byte("plain"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := stream.Decompress(bytes.NewReader(data))
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			if closeErr := r.Close(); closeErr != nil {
				t.Fatal(closeErr)
			}
		}
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Fatalf("no kind: %v", err)
		}
	})
}
