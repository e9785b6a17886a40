package network

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/containernetworking/cni/libcni"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// podNetwork returns the network that new pods join: the first file of the folder, else the built-in one. A broken first
// file is an error: taking the next would put pods into a network that nobody chose for them.
func (n *Network) podNetwork(ctx context.Context) (*libcni.NetworkConfigList, error) {
	files, err := loadFiles(n.conf.ConfDir)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		return files[0].list, files[0].err
	}
	agent, err := n.agent()
	if err != nil {
		return nil, err
	}
	if agent != "" {
		return nil, errdefs.Unavailable("no CNI configuration in %s: a Kubernetes agent manages this node (%s exists), so its network add-on must put one there",
			n.conf.ConfDir, agent)
	}
	return n.defaultNetwork(ctx)
}

// agent returns the file which shows that a Kubernetes agent manages this node, "" if there is none.
func (n *Network) agent() (string, error) {
	for _, path := range n.conf.AgentFiles {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", errdefs.New(errdefs.ErrUnavailable, "look for a Kubernetes agent: %w", err)
		}
	}
	return "", nil
}

// networks returns all networks that can be used, for GC: those of the folder and, if it was ever used, the built-in one.
func (n *Network) networks() ([]*libcni.NetworkConfigList, error) {
	files, err := loadFiles(n.conf.ConfDir)
	if err != nil {
		return nil, err
	}
	var lists []*libcni.NetworkConfigList
	for _, f := range files {
		if f.err == nil {
			lists = append(lists, f.list)
		}
	}
	builtin, err := n.chosenDefault()
	if err != nil {
		return nil, err
	}
	if builtin != nil {
		lists = append(lists, builtin)
	}
	return lists, nil
}
