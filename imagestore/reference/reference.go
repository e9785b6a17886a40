package reference

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	dockerHub     = "docker.io"
	dockerHubOld  = "index.docker.io"
	defaultTag    = "latest"
	maxRepository = 255 // bytes of Repository, as the distribution specification's registries enforce
	maxReference  = 1024
)

// Reference is a normalised image name.
type Reference struct {
	Domain     string        // "docker.io", "localhost:5000", "[::1]:5000"
	Repository string        // "library/busybox"
	Tag        string        // "" when only a digest was given
	Digest     digest.Digest // "" when only a tag was given; with both, it decides what is pulled
}

// Parse reads a name and normalises it: docker.io and library/ are put in where Docker would, and the tag is "latest"
// when neither tag nor digest is there. An error is of kind Invalid and says what is wrong with the name.
func Parse(s string) (Reference, error) {
	r, err := parse(s)
	if err != nil {
		return Reference{}, errdefs.Invalid("image name %s: %w", quote(s), err)
	}
	return r, nil
}

func parse(s string) (Reference, error) {
	if s == "" {
		return Reference{}, errdefs.Invalid("is empty")
	}
	if len(s) > maxReference {
		return Reference{}, errdefs.Invalid("is longer than %d bytes", maxReference)
	}
	var r Reference
	name := s
	if before, after, found := strings.Cut(s, "@"); found {
		d, err := ParseDigest(after)
		if err != nil {
			return Reference{}, err
		}
		r.Digest, name = d, before
	}
	name, r.Tag = cutTag(name)
	if r.Tag == "" && r.Digest == "" {
		if strings.HasSuffix(s, ":") {
			return Reference{}, errdefs.Invalid("has an empty tag")
		}
		r.Tag = defaultTag
	}
	if r.Tag != "" && !validTag(r.Tag) {
		return Reference{}, errdefs.Invalid("has a bad tag: want at most 128 of letters, digits, '_', '.', '-'")
	}
	r.Domain, r.Repository = splitDomain(name)
	return r, r.checkName()
}

// cutTag splits at the last colon, if that belongs to no port.
func cutTag(name string) (rest, tag string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.ContainsAny(name[i:], "/]") {
		return name, ""
	}
	return name[:i], name[i+1:]
}

// splitDomain tells a registry from the first part of a path: a registry has a dot, a colon or a capital, or is localhost.
func splitDomain(name string) (domain, repository string) {
	first, rest, found := strings.Cut(name, "/")
	switch {
	case !found, !strings.ContainsAny(first, ".:[") && first != "localhost" && strings.ToLower(first) == first:
		domain, repository = dockerHub, name
	default:
		domain, repository = first, rest
	}
	if domain == dockerHubOld {
		domain = dockerHub
	}
	if domain == dockerHub && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return domain, repository
}

// Name is the repository with its registry: "docker.io/library/busybox".
func (r Reference) Name() string { return r.Domain + "/" + r.Repository }

// Tagged is the name with its tag, or "" when there is none. CRI calls it a repo tag.
func (r Reference) Tagged() string {
	if r.Tag == "" {
		return ""
	}
	return r.Name() + ":" + r.Tag
}

// WithDigest is the name with a digest, which CRI calls a repo digest.
func (r Reference) WithDigest(d digest.Digest) string { return r.Name() + "@" + d.String() }

// String is the whole normalised name.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}
