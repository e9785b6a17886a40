package manifest

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Bounds of what is accepted.
const (
	MaxSize   = 4 << 20 // bytes of a manifest or index
	MaxConfig = 8 << 20 // bytes of a config
	maxLayers = 128     // as Docker: a list that fits every way to mount them
	maxIndex  = 4096    // manifests in an index
	maxLayer  = 1 << 40 // bytes of one compressed layer
)

// Media types beside OCI's own.
const (
	dockerManifest   = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList       = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1    = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1JWS = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	dockerConfig     = "application/vnd.docker.container.image.v1+json"
)

// Document is a decoded manifest or index: exactly one of the two is set.
type Document struct {
	Index *Index
	Image *Image
}

// Index lists the images of one name, one for each platform.
type Index struct{ Manifests []ocispec.Descriptor }

// Image says what an image is made of.
type Image struct {
	Config ocispec.Descriptor
	Layers []ocispec.Descriptor // lowest first
}

// wire holds the fields of all document kinds, so that a mixture shows.
type wire struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	FSLayers      json.RawMessage      `json:"fsLayers"`
	History       json.RawMessage      `json:"history"`
}

// Decode reads a manifest or index. The content type is that of the HTTP answer or of the descriptor that led here, ""
// if unknown; it must agree with the document's own.
func Decode(data []byte, contentType string) (Document, error) {
	if len(data) > MaxSize {
		return Document{}, errdefs.Invalid("decode manifest: %d bytes are beyond the limit of %d", len(data), MaxSize)
	}
	if err := checkJSON(data); err != nil {
		return Document{}, errdefs.Invalid("decode manifest: %w", err)
	}
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return Document{}, errdefs.Invalid("decode manifest: %w", err)
	}
	d, err := w.document(contentType)
	if err != nil {
		return Document{}, errdefs.Invalid("decode manifest: %w", err)
	}
	return d, nil
}

func (w wire) document(contentType string) (Document, error) {
	mediaType, err := w.kind(contentType)
	if err != nil {
		return Document{}, err
	}
	switch mediaType {
	case ocispec.MediaTypeImageIndex, dockerList:
		index, err := w.index()
		return Document{Index: index}, err
	case ocispec.MediaTypeImageManifest, dockerManifest:
		image, err := w.image()
		return Document{Image: image}, err
	}
	return Document{}, errdefs.NotSupported("media type %q is no image manifest or index", short(mediaType))
}

// kind settles what the document is. Its own media type, the content type and its fields must tell the same.
func (w wire) kind(contentType string) (string, error) {
	if w.SchemaVersion == 1 || contentType == dockerSchema1 || contentType == dockerSchema1JWS || w.FSLayers != nil {
		return "", errdefs.NotSupported("it is of Docker's schema 1, which was given up for security; push the image again with a current tool")
	}
	if w.SchemaVersion != 2 {
		return "", errdefs.Invalid("schemaVersion is %d, not 2", w.SchemaVersion)
	}
	isIndex, isImage := w.Manifests != nil, w.Config != nil || w.Layers != nil
	if isIndex && isImage {
		return "", errdefs.Invalid("it has the fields of a manifest and of an index")
	}
	mediaType := w.MediaType
	switch {
	case mediaType == "" && known(contentType):
		mediaType = contentType
	case mediaType == "" && isIndex:
		mediaType = ocispec.MediaTypeImageIndex
	case mediaType == "":
		mediaType = ocispec.MediaTypeImageManifest
	case known(contentType) && mediaType != contentType:
		return "", errdefs.Invalid("it says that it is %q, its sender that it is %q", short(mediaType), contentType)
	}
	if asIndex := mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList; asIndex && isImage || !asIndex && isIndex {
		return "", errdefs.Invalid("its fields are not those of its media type %q", short(mediaType))
	}
	return mediaType, nil
}

func known(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerList, dockerManifest:
		return true
	}
	return false
}

func (w wire) index() (*Index, error) {
	if len(w.Manifests) > maxIndex {
		return nil, errdefs.Invalid("the index has more than %d manifests", maxIndex)
	}
	for i, m := range w.Manifests {
		if err := checkDescriptor(m, MaxSize); err != nil {
			return nil, errdefs.Invalid("manifest %d of the index: %w", i, err)
		}
	}
	return &Index{Manifests: w.Manifests}, nil
}

func (w wire) image() (*Image, error) {
	if w.Config == nil {
		return nil, errdefs.Invalid("it has no config")
	}
	if c := w.Config.MediaType; c != ocispec.MediaTypeImageConfig && c != dockerConfig {
		return nil, errdefs.NotSupported("it is an OCI artifact of type %q, not a container image", short(orElse(w.ArtifactType, c)))
	}
	if err := checkDescriptor(*w.Config, MaxConfig); err != nil {
		return nil, errdefs.Invalid("config: %w", err)
	}
	if len(w.Layers) == 0 {
		return nil, errdefs.NotSupported("it has no layers, so there is nothing to run")
	}
	if len(w.Layers) > maxLayers {
		return nil, errdefs.Invalid("it has %d layers, more than the %d that can be mounted", len(w.Layers), maxLayers)
	}
	var sum int64
	for i, l := range w.Layers {
		if err := checkDescriptor(l, maxLayer); err != nil {
			return nil, errdefs.Invalid("layer %d: %w", i, err)
		}
		if err := checkLayerType(l.MediaType); err != nil {
			return nil, errdefs.Invalid("layer %d: %w", i, err)
		}
		if sum += l.Size; sum > math.MaxInt64/4 {
			return nil, errdefs.Invalid("its layers are too large")
		}
	}
	return &Image{Config: *w.Config, Layers: w.Layers}, nil
}

// checkLayerType accepts tars, however compressed: what they really are shows in their first bytes and is verified by
// the diffID. Layers that registries need not deliver are asked for at the same registry; their URLs are never followed
// (CVE-2020-15157).
func checkLayerType(mediaType string) error {
	switch {
	case strings.HasSuffix(mediaType, "+encrypted"):
		return errdefs.NotSupported("it is encrypted (%s)", short(mediaType))
	case strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.v1.tar"),
		strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.v1.tar"),
		strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.diff.tar"),
		strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.foreign.diff.tar"):
		return nil
	}
	return errdefs.NotSupported("media type %q is no layer of a container image", short(mediaType))
}

func checkDescriptor(d ocispec.Descriptor, maxSize int64) error {
	if _, err := reference.ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	if d.Size < 0 || d.Size > maxSize {
		return errdefs.Invalid("size %d of %s is not between 0 and %d", d.Size, d.Digest, maxSize)
	}
	return nil
}

// CheckDiffIDs makes sure that a config's layers can be those of the manifest.
func (m *Image) CheckDiffIDs(diffIDs []digest.Digest) error {
	if len(diffIDs) != len(m.Layers) {
		return errdefs.Invalid("the manifest has %d layers but the config %d", len(m.Layers), len(diffIDs))
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// short bounds foreign text in errors; %q does the rest.
func short(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
