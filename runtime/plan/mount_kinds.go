package plan

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/userns"
)

// IDMap says whose files those of a mount appear to be.
type IDMap struct {
	Mappings  *userns.Mappings `json:",omitempty"` // nil: those of the container's user namespace
	Recursive bool             `json:",omitempty"` // also in the mounts below it
}

// idmap reads whose files a mount shall show. Mappings of its own stand for the option as well.
func (p *Plan) idmap(m specs.Mount, o options, bind bool) (*IDMap, error) {
	own := len(m.UIDMappings)+len(m.GIDMappings) > 0
	switch {
	case !own && !o.idmap:
		return nil, nil
	case !bind:
		return nil, errdefs.Invalid("idmap: only bind mounts can have ID mappings")
	case !own && p.User == nil:
		return nil, errdefs.Invalid("idmap: there are no uidMappings and gidMappings, and the container has no user namespace whose could be meant")
	case !own:
		return &IDMap{Recursive: o.ridmap}, nil
	}
	list := userns.Mappings{UIDs: mappings(m.UIDMappings), GIDs: mappings(m.GIDMappings)}
	return &IDMap{Mappings: &list, Recursive: o.ridmap}, list.Check("")
}

// superblock warns of options that mount(2) takes without any effect. A bind mount has no file system of its own that one
// such as mode=755 could be for; a word without value is not taken for one, but for a mistake.
func (p *Plan) superblock(m specs.Mount, o options, bind bool) {
	none := o.none
	if bind {
		none = append(none, o.superblock...)
		for _, param := range o.params {
			if param.Value != nil {
				none = append(none, param.String())
			}
		}
	}
	for _, name := range none {
		p.Warnings = append(p.Warnings, fmt.Sprintf("mount on %s: option %s has no effect there", m.Destination, name))
	}
}

// flagsOf returns the options without value.
func flagsOf(params []Param) (flags []Param) {
	for _, p := range params {
		if p.Value == nil {
			flags = append(flags, p)
		}
	}
	return flags
}

// asRemount changes what is mounted at a place. With bind it is the mount alone, else its file system as well.
func (m Mount) asRemount(spec specs.Mount, o options, bind bool) (Mount, error) {
	switch {
	case m.Prepared, m.IDMap != nil, o.copyUp:
		return m, errdefs.Invalid("option %q makes no mount, so it can't be combined with what is for one", "remount")
	case m.Recursive || m.Propagation != 0:
		return m, errdefs.Invalid("option %q changes one mount, and not its propagation", "remount")
	case bind && len(m.Params) > 0:
		return m, errdefs.Invalid("option %q is unknown for a bind mount", m.Params[0])
	}
	m.Remount = true
	if !bind {
		m.FSType = spec.Type
	}
	return m, nil
}
