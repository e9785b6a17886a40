package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/imagestore/verify"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// MaxManifest is the size that the distribution specification, section "Pushing Manifests", lets a registry limit
// manifests to; none larger is read.
const MaxManifest = 4 << 20

// The manifest types of Docker's image manifest version 2, schema 2, and of schema 1, which is named to be refused.
const (
	DockerManifest   = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList       = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerSchema1    = "application/vnd.docker.distribution.manifest.v1+json"
	DockerSchema1JWS = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Manifest is a manifest as the registry sent it; its bytes have the digest.
type Manifest struct {
	Digest    digest.Digest
	MediaType string // of the Content-Type header, without parameters; "" if there was none
	Data      []byte
}

// Manifest fetches by digest if wanted is not empty, else by tag. Bytes that don't have the digest are an error of kind
// DataLoss.
func (s *Session) Manifest(ctx context.Context, tag string, wanted digest.Digest) (Manifest, error) {
	var m Manifest
	name, usable := tag, canResolve
	if wanted != "" {
		name, usable = wanted.String(), canPull
	}
	_, err := s.each(ctx, usable, func(ctx context.Context, e *endpoint) (err error) {
		m, err = e.manifest(ctx, name, wanted)
		return err
	})
	if err != nil {
		return Manifest{}, fmt.Errorf("fetch manifest %s: %w", name, err)
	}
	return m, nil
}

// Head asks what a tag or digest is without fetching it, which Docker Hub does not count against its limits, and
// whether this login may have it. The digest is "" if the registry doesn't say.
func (s *Session) Head(ctx context.Context, tag string, wanted digest.Digest) (digest.Digest, error) {
	var got digest.Digest
	name, usable := tag, canResolve
	if wanted != "" {
		name, usable = wanted.String(), canPull
	}
	_, err := s.each(ctx, usable, func(ctx context.Context, e *endpoint) error {
		ctx, cancel := context.WithTimeout(ctx, s.client.timing.Metadata)
		defer cancel()
		a, err := e.do(ctx, http.MethodHead, "manifests/"+name, accept(), http.StatusOK)
		if err != nil {
			return err
		}
		got = headerDigest(a.header)
		return a.body.Close()
	})
	if err != nil {
		return "", fmt.Errorf("look up %s of %s: %w", name, s.ref.Name(), err)
	}
	return got, nil
}

func (e *endpoint) manifest(ctx context.Context, name string, wanted digest.Digest) (Manifest, error) {
	data, header, err := e.small(ctx, "manifests/"+name, accept(), MaxManifest)
	if err != nil {
		return Manifest{}, err
	}
	if wanted == "" {
		if wanted = headerDigest(header); wanted == "" {
			wanted = digest.FromBytes(data)
		}
	}
	if err := verify.Bytes(data, "manifest "+name, wanted); err != nil {
		return Manifest{}, dataLoss("%v", err)
	}
	mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return Manifest{Digest: wanted, MediaType: strings.ToLower(strings.TrimSpace(mediaType)), Data: data}, nil
}

// Blob fetches a small blob, such as a config, whole and verified. The descriptor's size must be at most maxSize.
func (s *Session) Blob(ctx context.Context, d ocispec.Descriptor, maxSize int64) ([]byte, error) {
	if d.Size < 0 || d.Size > maxSize {
		return nil, errdefs.Invalid("fetch blob %s: its size of %d bytes is beyond the limit of %d", d.Digest, d.Size, maxSize)
	}
	var data []byte
	_, err := s.each(ctx, canPull, func(ctx context.Context, e *endpoint) (err error) {
		if data, _, err = e.small(ctx, "blobs/"+d.Digest.String(), nil, d.Size); err != nil {
			return err
		}
		if int64(len(data)) != d.Size {
			return dataLoss("blob %s has %d bytes, not the %d that were promised", d.Digest, len(data), d.Size)
		}
		if err := verify.Bytes(data, "blob "+d.Digest.String(), d.Digest); err != nil {
			return dataLoss("%v", err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("fetch blob %s of %s: %w", d.Digest, s.ref.Name(), err)
	}
	return data, nil
}

// small reads a whole bounded answer.
func (e *endpoint) small(ctx context.Context, path string, header http.Header, limit int64) (_ []byte, _ http.Header, err error) {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, e.client.timing.Metadata)
	defer cancel()
	a, err := e.do(ctx, http.MethodGet, path, header, http.StatusOK)
	if err != nil {
		return nil, nil, ownTimeout(outer, err)
	}
	defer func() { err = errors.Join(err, a.body.Close()) }()
	data, err := io.ReadAll(io.LimitReader(a.body, limit+1))
	switch {
	case err != nil:
		return nil, nil, ownTimeout(outer, e.scrub.broken(ctx, err))
	case int64(len(data)) > limit:
		return nil, nil, dataLoss("the answer is larger than %d bytes", limit)
	}
	return data, a.header, nil
}

// ownTimeout tells this client's own time-out from the caller's deadline.
func ownTimeout(outer context.Context, err error) error {
	if outer.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return &failure{kind: errdefs.ErrUnavailable, text: "no whole answer in time", transient: true}
	}
	return err
}

func accept() http.Header {
	return http.Header{"Accept": {strings.Join([]string{
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, DockerList, DockerManifest,
	}, ", ")}}
}

// headerDigest is what the registry says that the manifest's digest is; "" if nothing that can be checked.
func headerDigest(header http.Header) digest.Digest {
	d, err := reference.ParseDigest(header.Get("Docker-Content-Digest"))
	if err != nil {
		return ""
	}
	return d
}
