package network

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// spoken is what the file of a plugin said to VERSION. Another file at the same path is asked anew.
type spoken struct {
	size     int64
	modified time.Time
	versions []string
}

// speaks returns an error if the plugin at path does not support a version of CNI.
func (n *Network) speaks(ctx context.Context, path, version string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("CNI plugin %s: %w", path, err)
	}
	n.mu.Lock()
	s, ok := n.spoken[path]
	n.mu.Unlock()
	if !ok || s.size != info.Size() || !s.modified.Equal(info.ModTime()) {
		answer, err := invoke.GetVersionInfo(ctx, path, n.runner)
		if err != nil {
			return fmt.Errorf("ask CNI plugin %s for its versions: %w", path, err)
		}
		s = spoken{info.Size(), info.ModTime(), answer.SupportedVersions()}
		n.mu.Lock()
		n.spoken[path] = s
		n.mu.Unlock()
	}
	if !slices.Contains(s.versions, version) {
		return errdefs.Unavailable("CNI plugin %s speaks versions %s of CNI, and the network's configuration is of %s: "+
			"put a newer plugin before it in bin_dirs, or set cniVersion to one of those", path, strings.Join(s.versions, ", "), version)
	}
	return nil
}
