package autoremove

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	// maxLog is the size from which on a log is set aside; the one set aside before goes. As it is looked at now and then
	// only, a log is larger by what its container writes meanwhile.
	maxLog    = 16 << 20
	lookAfter = time.Second

	// OldSuffix is what the name of a log that was set aside ends with.
	OldSuffix = ".1"
)

// rotate sets logs aside that have grown large, until ctx ends.
func (k *keeper) rotate(ctx context.Context) {
	tick := time.NewTicker(lookAfter)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.rotateAll(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (k *keeper) rotateAll(ctx context.Context) {
	ready := true
	for _, p := range k.pods.Pods(ctx, pod.PodFilter{Ready: &ready}) {
		if !k.own(p.Config) {
			continue
		}
		_, containers, err := k.pods.PodSnapshot(ctx, p.ID)
		if err != nil {
			continue // it is gone
		}
		for _, c := range containers {
			if c.State != pod.ContainerRunning || filepath.Dir(c.LogPath) != filepath.Clean(p.Config.LogDirectory) {
				continue
			}
			if err := k.rotateLog(ctx, c); err != nil {
				k.log.WarnContext(ctx, "the log of a container could not be set aside, and grows", "container", c.ID, "err", err)
			}
		}
	}
}

func (k *keeper) rotateLog(ctx context.Context, c pod.ContainerStatus) error {
	info, err := os.Lstat(c.LogPath)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < maxLog {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	if err := os.Rename(c.LogPath, c.LogPath+OldSuffix); err != nil {
		return fmt.Errorf("set the log aside: %w", err)
	}
	err = k.pods.ReopenLog(ctx, c.ID)
	if err == nil {
		return nil
	}
	// The old file is still in use.
	back := os.Rename(c.LogPath+OldSuffix, c.LogPath)
	if errors.Is(err, errdefs.ErrFailedPrecondition) || errors.Is(err, errdefs.ErrNotFound) {
		err = nil // it has just ended
	}
	return errors.Join(err, back)
}
