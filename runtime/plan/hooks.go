package plan

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// hookLists returns the kinds of hooks with their names.
func hookLists(h *specs.Hooks) map[string][]specs.Hook {
	return map[string][]specs.Hook{
		//lint:ignore SA1019 old bundles use the deprecated field
		"prestart": h.Prestart, "createRuntime": h.CreateRuntime, "createContainer": h.CreateContainer,
		"startContainer": h.StartContainer, "poststart": h.Poststart, "poststop": h.Poststop,
	}
}

// hooks checks them. Who launches the container runs them.
func (p *Plan) hooks(spec *specs.Spec, facts Facts) error {
	if spec.Hooks == nil {
		return nil
	}
	for kind, list := range hookLists(spec.Hooks) {
		for i, h := range list {
			switch {
			case !facts.Hooks:
				return errdefs.NotSupported("hooks: not supported by berth outside of the OCI command line")
			case !strings.HasPrefix(h.Path, "/"):
				return errdefs.Invalid("hooks.%s[%d].path: %q is not an absolute path", kind, i, h.Path)
			case h.Timeout != nil && *h.Timeout <= 0:
				return errdefs.Invalid("hooks.%s[%d].timeout: %d is not above zero", kind, i, *h.Timeout)
			}
		}
	}
	return nil
}
