package plan

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// paths takes the paths to hide and to protect. What does not exist in the container is skipped at the start.
func (p *Plan) paths(spec *specs.Spec, _ Facts) (err error) {
	if p.ReadonlyPaths, err = cleanPaths("linux.readonlyPaths", spec.Linux.ReadonlyPaths); err != nil {
		return err
	}
	p.MaskedPaths, err = cleanPaths("linux.maskedPaths", spec.Linux.MaskedPaths)
	return err
}

func cleanPaths(field string, list []string) ([]string, error) {
	var out []string
	for i, p := range list {
		c := path.Clean(p)
		if !strings.HasPrefix(p, "/") || c == "/" || strings.ContainsRune(p, 0) {
			return nil, errdefs.Invalid("%s[%d]: %q is not an absolute path below the root", field, i, p)
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out, nil
}
