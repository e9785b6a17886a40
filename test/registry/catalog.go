package registry

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// catalog maps references to descriptors and digests to the files that hold them.
type catalog struct {
	tags  map[string]map[string]ocispec.Descriptor // repository → tag
	blobs map[digest.Digest]string                 // path of the file
	types map[digest.Digest]string                 // media types of manifests
}

// load reads OCI layouts whose index.json names each entry "repository:tag".
func load(layouts []string) (catalog, error) {
	c := catalog{tags: map[string]map[string]ocispec.Descriptor{}, blobs: map[digest.Digest]string{}, types: map[digest.Digest]string{}}
	for _, dir := range layouts {
		if err := c.add(dir); err != nil {
			return catalog{}, fmt.Errorf("read layout %s: %w", dir, err)
		}
	}
	return c, nil
}

func (c catalog) add(dir string) error {
	var index ocispec.Index
	if err := readJSON(filepath.Join(dir, "index.json"), &index); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		c.blobs[digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(f))), filepath.Base(f))] = f
	}
	for _, d := range index.Manifests {
		repository, tag, ok := strings.Cut(d.Annotations[ocispec.AnnotationRefName], ":")
		if !ok {
			return fmt.Errorf("entry %s has no repository:tag", d.Digest)
		}
		if c.tags[repository] == nil {
			c.tags[repository] = map[string]ocispec.Descriptor{}
		}
		c.tags[repository][tag] = d
		if err := c.addTypes(d); err != nil {
			return err
		}
	}
	return nil
}

// addTypes notes the media types of a manifest and, for an index, of the manifests in it.
func (c catalog) addTypes(d ocispec.Descriptor) error {
	c.types[d.Digest] = d.MediaType
	if !strings.Contains(d.MediaType, "index") && !strings.Contains(d.MediaType, "manifest.list") {
		return nil
	}
	var index ocispec.Index
	if err := readJSON(c.blobs[d.Digest], &index); err != nil {
		return err
	}
	for _, m := range index.Manifests {
		if err := c.addTypes(m); err != nil {
			return err
		}
	}
	return nil
}

// manifest finds a manifest by tag or digest: its file, media type and digest.
func (c catalog) manifest(repository, reference string) (file, mediaType string, d digest.Digest, ok bool) {
	tags, ok := c.tags[repository]
	if !ok {
		return "", "", "", false
	}
	d = digest.Digest(reference)
	if d.Validate() != nil {
		desc, ok := tags[reference]
		if !ok {
			return "", "", "", false
		}
		d = desc.Digest
	}
	mediaType, ok = c.types[d]
	return c.blobs[d], mediaType, d, ok
}

func (c catalog) tagList(repository string) []string {
	var tags []string
	for tag := range c.tags[repository] {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return tags
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	return nil
}
