package reference_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	for in, want := range map[string]reference.Reference{
		"busybox":                         {Domain: "docker.io", Repository: "library/busybox", Tag: "latest"},
		"busybox:1.36":                    {Domain: "docker.io", Repository: "library/busybox", Tag: "1.36"},
		"a/b":                             {Domain: "docker.io", Repository: "a/b", Tag: "latest"},
		"docker.io/busybox":               {Domain: "docker.io", Repository: "library/busybox", Tag: "latest"},
		"index.docker.io/busybox":         {Domain: "docker.io", Repository: "library/busybox", Tag: "latest"},
		"localhost/x":                     {Domain: "localhost", Repository: "x", Tag: "latest"},
		"localhost:5000/x/y:Z_1":          {Domain: "localhost:5000", Repository: "x/y", Tag: "Z_1"},
		"[::1]:5000/x":                    {Domain: "[::1]:5000", Repository: "x", Tag: "latest"},
		"[::1]/x:t":                       {Domain: "[::1]", Repository: "x", Tag: "t"},
		"quay.io/a/b/c__d.e-f---g@" + sum: {Domain: "quay.io", Repository: "a/b/c__d.e-f---g", Digest: sum},
		"busybox:1@" + sum:                {Domain: "docker.io", Repository: "library/busybox", Tag: "1", Digest: sum},
		"Reg/x":                           {Domain: "Reg", Repository: "x", Tag: "latest"},
		"10.0.0.1:80/x":                   {Domain: "10.0.0.1:80", Repository: "x", Tag: "latest"},
	} {
		got, err := reference.Parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", ":", "a:", "/a", "a/", "a//b", "UPPER", "x/UPPER", "a b", "a:b:c", "-a", "a-", "a..b", "a.-b", "a___b", "a/.b",
		"a@", "a@sha256:abc", "a@sha1:" + strings.Repeat("0", 40), "a@" + strings.ToUpper(sum), "a@sha256:../../x", "a@" + sum + "@" + sum,
		"host:99999/x", "host:0/x", "host:+80/x", "[::1/x", "[1.2.3.4]/x", "[fe80::1%eth0]/x", "h..x/y", "-h.x/y", "a:.t", "a:-t",
		"a:" + strings.Repeat("t", 129), strings.Repeat("a", 256), strings.Repeat("0", 64), "../x", "a/../b", "docker.io/", "a\x00b", "é",
		"https://docker.io/library/busybox",
	} {
		if got, err := reference.Parse(in); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
	}
}

func TestForms(t *testing.T) {
	r, err := reference.Parse("busybox:1@" + sum)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{r.Name(), r.Tagged(), r.WithDigest(digest.Digest(sum)), r.String()}
	want := []string{
		"docker.io/library/busybox", "docker.io/library/busybox:1",
		"docker.io/library/busybox@" + sum, "docker.io/library/busybox:1@" + sum,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"busybox", "localhost:5000/a/b:c", "a@" + sum, "[::1]:1/x", "a.b/c__d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := reference.Parse(s)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("%q: error without a kind: %v", s, err)
			}
			return
		}
		again, err := reference.Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q: %+v reads back as %+v, %v", s, r, again, err)
		}
		if strings.Contains(r.Name(), "..") || strings.HasPrefix(r.Repository, "/") {
			t.Fatalf("%q: unsafe name %q", s, r.Name())
		}
	})
}
