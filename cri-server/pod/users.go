package pod

import (
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/runtime/userns"
)

// usersOf returns the mappings of a pod's user namespace, nil if it is in the host's.
func usersOf(p spec.PodConfig) *userns.Mappings {
	u := spec.Users(p)
	if u == nil {
		return nil
	}
	return &userns.Mappings{UIDs: mappings(u.UIDs), GIDs: mappings(u.GIDs)}
}

func mappings(list []spec.IDMapping) []userns.Mapping {
	out := make([]userns.Mapping, 0, len(list))
	for _, m := range list {
		out = append(out, userns.Mapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Length})
	}
	return out
}

// openUsers opens a pod's user namespace; nil if it is in the host's.
func openUsers(r podRecord) (*os.File, error) {
	if r.Pins.User == "" {
		return nil, nil
	}
	f, err := os.Open(r.Pins.User)
	if err != nil {
		return nil, fmt.Errorf("open the pod's user namespace: %w", err)
	}
	return f, nil
}

// probeID is a user and a group of the host's that a probe's root is mapped to.
const probeID = 1 << 16

// UserNamespaces tells why pods can't have user namespaces here, nil if they can. It is found out once: this needs the
// kernel's permission, and a file system of the image store that can show other owners.
func (m *Manager) UserNamespaces() error { return m.userNamespaces() }

func (m *Manager) probeUsers() (err error) {
	list := []userns.Mapping{{HostID: probeID, Size: 1 << 16}}
	users, err := m.cfg.Namespaces.Users(userns.Mappings{UIDs: list, GIDs: list})
	if err != nil {
		return err
	}
	err = m.cfg.Images.ProbeMapping(users)
	return errors.Join(err, users.Close())
}
