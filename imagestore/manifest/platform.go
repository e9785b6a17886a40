package manifest

import (
	"runtime"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// ParsePlatform reads "os/arch" or "os/arch/variant"; "" is the host's.
func ParsePlatform(s string) (ocispec.Platform, error) {
	if s == "" {
		return ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return ocispec.Platform{}, errdefs.Invalid("platform %q is not like linux/arm64 or linux/arm/v7", short(s))
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// Select returns the manifest of the index that suits a platform best, or an error of kind NotFound that lists what
// there is.
func (x *Index) Select(want ocispec.Platform) (ocispec.Descriptor, error) {
	best, found := 0, -1
	for i, m := range x.Manifests {
		if score := fit(m.Platform, want); score > best {
			best, found = score, i
		}
	}
	if found >= 0 {
		return x.Manifests[found], nil
	}
	return ocispec.Descriptor{}, errdefs.NotFound("there is no image for %s, only for: %s", text(want), x.platforms())
}

// CheckPlatform makes sure that an image without index runs here. Configs that say nothing are taken as they are.
func CheckPlatform(have, want ocispec.Platform) error {
	if have.OS == "" && have.Architecture == "" || fit(&have, want) > 0 {
		return nil
	}
	return errdefs.NotFound("the image is for %s, not for %s", text(have), text(want))
}

// fit scores how well an image's platform suits; 0 is not at all. Variants count within an architecture: an older one
// runs on a newer machine of arm, an unnamed one is the baseline.
func fit(have *ocispec.Platform, want ocispec.Platform) int {
	if have == nil || have.OS != want.OS || have.Architecture != want.Architecture {
		return 0
	}
	h, w := variant(*have), variant(want)
	switch {
	case h == w:
		return 100
	case want.Architecture == "arm" && h < w:
		return 50 + h
	case want.Architecture == "arm", want.Variant != "":
		return 0
	}
	return 50 - min(h, 49) // nobody asked for a variant: rather the lowest than none
}

// variant is the number in "v7", with the baseline of its architecture where nothing is said.
func variant(p ocispec.Platform) int {
	if n, err := strconv.Atoi(strings.TrimPrefix(p.Variant, "v")); err == nil && n > 0 {
		return n
	}
	switch p.Architecture {
	case "arm":
		return 7
	case "arm64":
		return 8
	}
	return 1
}

func (x *Index) platforms() string {
	var list []string
	for _, m := range x.Manifests {
		if p := m.Platform; p != nil && p.OS != "unknown" && len(list) < 20 {
			list = append(list, text(*p))
		}
	}
	if len(list) == 0 {
		return "none that is named"
	}
	return strings.Join(list, ", ")
}

func text(p ocispec.Platform) string {
	s := short(p.OS) + "/" + short(p.Architecture)
	if p.Variant != "" {
		s += "/" + short(p.Variant)
	}
	return s
}
