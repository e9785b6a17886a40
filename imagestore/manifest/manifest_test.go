package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/manifest"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	sum     = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	oci     = "application/vnd.oci.image.manifest.v1+json"
	index   = "application/vnd.oci.image.index.v1+json"
	schema2 = "application/vnd.docker.distribution.manifest.v2+json"
)

func descriptor(mediaType string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":3}`, mediaType, sum)
}

var (
	config = descriptor("application/vnd.oci.image.config.v1+json")
	layer  = descriptor("application/vnd.oci.image.layer.v1.tar+gzip")
)

func TestDecode(t *testing.T) {
	d := func(mediaType string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: sum, Size: 3}
	}
	image := &manifest.Image{
		Config: d("application/vnd.oci.image.config.v1+json"),
		Layers: []ocispec.Descriptor{d("application/vnd.oci.image.layer.v1.tar+gzip")},
	}
	docker := &manifest.Image{
		Config: d("application/vnd.docker.container.image.v1+json"),
		Layers: []ocispec.Descriptor{d("application/vnd.docker.image.rootfs.diff.tar.gzip")},
	}
	for name, c := range map[string]struct {
		text, contentType string
		want              manifest.Document
	}{
		"OCI":             {`{"schemaVersion":2,"mediaType":"` + oci + `","config":` + config + `,"layers":[` + layer + `]}`, oci, manifest.Document{Image: image}},
		"OCI, no type":    {`{"schemaVersion":2,"config":` + config + `,"layers":[` + layer + `]}`, "", manifest.Document{Image: image}},
		"OCI, odd sender": {`{"schemaVersion":2,"mediaType":"` + oci + `","config":` + config + `,"layers":[` + layer + `]}`, "text/plain", manifest.Document{Image: image}},
		"Docker schema 2": {`{"schemaVersion":2,"mediaType":"` + schema2 + `","config":` + descriptor("application/vnd.docker.container.image.v1+json") + `,"layers":[` + descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip") + `]}`, schema2, manifest.Document{Image: docker}},
		"index":           {`{"schemaVersion":2,"mediaType":"` + index + `","manifests":[` + descriptor(oci) + `]}`, index, manifest.Document{Index: &manifest.Index{Manifests: []ocispec.Descriptor{d(oci)}}}},
		"empty index":     {`{"schemaVersion":2,"mediaType":"` + index + `","manifests":[]}`, "", manifest.Document{Index: &manifest.Index{Manifests: []ocispec.Descriptor{}}}},
	} {
		got, err := manifest.Decode([]byte(c.text), c.contentType)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, contentType, want string }{
		"nothing":              {``, "", "JSON"},
		"null":                 {`null`, "", "schemaVersion is 0"},
		"list":                 {`[]`, "", "cannot unmarshal"},
		"two documents":        {`{"schemaVersion":2} {}`, "", "after top-level value"},
		"deep":                 {strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "", "nested deeper"},
		"twice":                {`{"schemaVersion":2,"schemaVersion":2}`, "", `"schemaVersion" is there twice`},
		"twice but for case":   {`{"schemaVersion":2,"layers":[],"Layers":[]}`, "", `"Layers" is there twice`},
		"schema 1":             {`{"schemaVersion":1,"fsLayers":[]}`, "", "schema 1"},
		"schema 1 in disguise": {`{"schemaVersion":2,"fsLayers":[],"config":` + config + `}`, oci, "schema 1"},
		"both":                 {`{"schemaVersion":2,"config":` + config + `,"layers":[` + layer + `],"manifests":[]}`, oci, "fields of a manifest and of an index"},
		"sender disagrees":     {`{"schemaVersion":2,"mediaType":"` + oci + `","config":` + config + `,"layers":[` + layer + `]}`, index, "its sender that it is"},
		"type disagrees":       {`{"schemaVersion":2,"mediaType":"` + oci + `","manifests":[]}`, oci, "not those of its media type"},
		"unknown type":         {`{"schemaVersion":2,"mediaType":"x/y"}`, "", `"x/y" is no image manifest`},
		"artifact":             {`{"schemaVersion":2,"artifactType":"chart","config":` + descriptor("application/vnd.oci.empty.v1+json") + `,"layers":[` + layer + `]}`, oci, `OCI artifact of type "chart"`},
		"no config":            {`{"schemaVersion":2,"layers":[` + layer + `]}`, oci, "has no config"},
		"no layers":            {`{"schemaVersion":2,"config":` + config + `,"layers":[]}`, oci, "no layers"},
		"encrypted":            {`{"schemaVersion":2,"config":` + config + `,"layers":[` + descriptor("application/vnd.oci.image.layer.v1.tar+gzip+encrypted") + `]}`, oci, "encrypted"},
		"odd layer":            {`{"schemaVersion":2,"config":` + config + `,"layers":[` + descriptor("application/wasm") + `]}`, oci, `"application/wasm" is no layer`},
		"path as digest":       {`{"schemaVersion":2,"config":` + strings.Replace(config, sum, "sha256:../../x", 1) + `,"layers":[` + layer + `]}`, oci, "sha256:../../x"},
		"negative size":        {`{"schemaVersion":2,"config":` + strings.Replace(config, `:3}`, `:-3}`, 1) + `,"layers":[` + layer + `]}`, oci, "size -3"},
		"too many layers":      {`{"schemaVersion":2,"config":` + config + `,"layers":[` + strings.Repeat(layer+",", 128) + layer + `]}`, oci, "129 layers"},
		"too many manifests":   {`{"schemaVersion":2,"manifests":[` + strings.Repeat(layer+",", 4096) + layer + `]}`, index, "more than 4096"},
		"too large":            {strings.Repeat(" ", 4<<20+1), "", "beyond the limit"},
	} {
		got, err := manifest.Decode([]byte(c.text), c.contentType)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotSupported) {
			t.Errorf("%s: error without a kind: %v", name, err)
		}
	}
}

func TestSelect(t *testing.T) {
	all := func(names ...string) *manifest.Index {
		x := &manifest.Index{}
		for i, name := range names {
			d := ocispec.Descriptor{Digest: digest.Digest(name), Size: int64(i)}
			if name != "-" {
				p, err := manifest.ParsePlatform(name)
				if err != nil {
					t.Fatal(err)
				}
				d.Platform = &p
			}
			x.Manifests = append(x.Manifests, d)
		}
		return x
	}
	for _, c := range []struct {
		x          *manifest.Index
		want, take string
	}{
		{all("linux/arm64", "linux/amd64", "windows/amd64"), "linux/amd64", "linux/amd64"},
		{all("linux/amd64/v3", "linux/amd64"), "linux/amd64", "linux/amd64"},
		{all("linux/amd64/v3", "linux/amd64/v2"), "linux/amd64", "linux/amd64/v2"},
		{all("linux/amd64", "linux/amd64/v3"), "linux/amd64/v3", "linux/amd64/v3"},
		{all("linux/arm64/v8"), "linux/arm64", "linux/arm64/v8"},
		{all("linux/arm/v5", "linux/arm/v6", "linux/arm/v8"), "linux/arm/v7", "linux/arm/v6"},
		{all("-", "unknown/unknown", "linux/amd64"), "linux/amd64", "linux/amd64"},
		{all("-", "linux/arm64", "unknown/unknown"), "linux/amd64", ""},
		{all("linux/arm/v7"), "linux/arm/v6", ""},
		{all("linux/amd64"), "linux/amd64/v2", ""},
	} {
		want, err := manifest.ParsePlatform(c.want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.x.Select(want)
		if c.take == "" {
			if !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: got %v, %v", c, got.Digest, err)
			}
			continue
		}
		if err != nil || string(got.Digest) != c.take {
			t.Errorf("want %s of %+v: got %s, %v", c.take, c.want, got.Digest, err)
		}
	}
}

func TestParsePlatformRefuses(t *testing.T) {
	for _, s := range []string{"linux", "/", "a/b/c/d", "linux/"} {
		if _, err := manifest.ParsePlatform(s); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestDecodeConfig(t *testing.T) {
	good := `{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Healthcheck":{"Test":["CMD"]}},"rootfs":{"type":"layers","diff_ids":["` + sum + `"]}}`
	c, err := manifest.DecodeConfig([]byte(good))
	if err != nil || c.Architecture != "amd64" || c.Config.Env[0] != "A=1" || c.RootFS.DiffIDs[0] != sum {
		t.Fatalf("%+v, %v", c, err)
	}
	env, err := json.Marshal(make([]string, 10_001))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"rootfs":{"type":"x"}}`: "rootfs.type",
		`{}`:                      "rootfs.type",
		strings.Replace(good, sum, "sha256:1", 1):                              "diff_ids",
		strings.Replace(good, `"A=1"`, `"A=\u0000"`, 1):                        "NUL",
		strings.Replace(good, `["A=1"]`, string(env), 1):                       "more than 10000",
		strings.Replace(good, `"Env":`, `"Volumes":{"/a\u0000":{}},"Env":`, 1): "NUL",
	} {
		if _, err := manifest.DecodeConfig([]byte(text)); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"`+oci+`","config":`+config+`,"layers":[`+layer+`]}`), oci)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[`+descriptor(oci)+`]}`), index)
	f.Fuzz(func(t *testing.T, data []byte, contentType string) {
		d, err := manifest.Decode(data, contentType)
		if err != nil {
			return
		}
		if (d.Index == nil) == (d.Image == nil) {
			t.Fatalf("%q is neither or both", data)
		}
		if d.Image != nil && (len(d.Image.Layers) == 0 || d.Image.Config.Digest.Validate() != nil) {
			t.Fatalf("%q: unchecked image", data)
		}
	})
}

func FuzzDecodeConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","config":{"Env":["A=1"]},"rootfs":{"type":"layers","diff_ids":["` + sum + `"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := manifest.DecodeConfig(data)
		if err != nil {
			return
		}
		for _, d := range c.RootFS.DiffIDs {
			if d.Validate() != nil {
				t.Fatalf("%q: unchecked diffID %q", data, d)
			}
		}
	})
}
