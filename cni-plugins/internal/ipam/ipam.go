package ipam

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/hostlocal"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Plugin is an address management plugin for one request.
type Plugin struct {
	commands plugin.Commands
}

// Open finds the plugin that the configuration of a request names. It is an error to call it when none is named.
func Open(r *plugin.Request) (*Plugin, error) {
	name := r.Config.IPAMType
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return nil, errdefs.Invalid("ipam: type %q is not the name of a plugin", name)
	}
	path, err := find(name, r.Path)
	if err != nil {
		return nil, err
	}
	if name == "host-local" && isOurs(path, "host-local") {
		return &Plugin{commands: hostlocal.Commands()}, nil
	}
	return &Plugin{commands: delegate(path)}, nil
}

func find(name string, dirs []string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", errdefs.Unavailable("ipam: plugin %s is in none of the folders %s", name, strings.Join(dirs, ", "))
}

// Add asks for addresses. When it fails, what it may have reserved is freed again.
func (p *Plugin) Add(r *plugin.Request) (*current.Result, error) {
	p.commands.WarnUnknown(r)
	result, err := p.commands.Add(r)
	if err == nil {
		return result, nil
	}
	err = wrap(err)
	if errors.Is(err, errdefs.ErrExists) {
		return nil, err // the addresses are those of an earlier ADD, which holds them
	}
	return nil, errors.Join(err, p.Del(r))
}

// Del frees the addresses.
func (p *Plugin) Del(r *plugin.Request) error { return wrap(p.commands.Del(r)) }

// Check asks whether the addresses are still reserved.
func (p *Plugin) Check(r *plugin.Request) error { return wrap(p.commands.Check(r)) }

// GC frees the addresses of all but the valid attachments.
func (p *Plugin) GC(r *plugin.Request) error { return wrap(p.commands.GC(r)) }

// Status asks whether addresses are left.
func (p *Plugin) Status(r *plugin.Request) error { return wrap(p.commands.Status(r)) }

// wrap says what an error is about, unless it does so itself.
func wrap(err error) error {
	if err == nil || strings.Contains(err.Error(), "ipam: ") {
		return err
	}
	return fmt.Errorf("ipam: %w", err)
}
