package verify_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/verify"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestReader(t *testing.T) {
	const text = "some bytes"
	right, wrong := digest.FromString(text), digest.FromString("x")
	for name, c := range map[string]struct {
		want digest.Digest
		size int64
		err  string
	}{
		"right":        {right, int64(len(text)), ""},
		"no size":      {right, verify.UnknownSize, ""},
		"sha512":       {digest.SHA512.FromString(text), int64(len(text)), ""},
		"wrong digest": {wrong, int64(len(text)), "promised"},
		"too long":     {right, 4, "longer than the 4 bytes"},
		"too short":    {right, 11, "ends after 10 of 11 bytes"},
	} {
		for _, src := range []io.Reader{
			strings.NewReader(text), iotest.DataErrReader(strings.NewReader(text)), iotest.OneByteReader(strings.NewReader(text)),
		} {
			r := verify.NewReader(src, "blob", c.want, c.size)
			got, err := io.ReadAll(r)
			if c.err == "" {
				if err != nil || string(got) != text {
					t.Errorf("%s: %q, %v", name, got, err)
				}
				continue
			}
			if !errors.Is(err, errdefs.ErrDataLoss) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
			if _, again := r.Read(make([]byte, 1)); !errors.Is(again, errdefs.ErrDataLoss) {
				t.Errorf("%s: a second read forgets: %v", name, again)
			}
		}
	}
}

func TestReaderKeepsTheSourcesError(t *testing.T) {
	cause := errors.New("cause")
	r := verify.NewReader(io.MultiReader(bytes.NewReader([]byte("a")), iotest.ErrReader(cause)), "blob", digest.FromString("a"), 1)
	if _, err := io.ReadAll(r); !errors.Is(err, cause) {
		t.Fatal(err)
	}
}
