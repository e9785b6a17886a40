package overlay

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/sys"
)

// usage counts what d and everything below it take on the disk, hard links once. What vanishes meanwhile is not counted.
func usage(ctx context.Context, d *sys.Dir) (snapshot.Usage, error) {
	c := counter{seen: map[inode]struct{}{}}
	st, err := d.Stat()
	if err != nil {
		return snapshot.Usage{}, fmt.Errorf("look at folder: %w", err)
	}
	c.add(&st)
	err = c.below(ctx, d)
	return c.sum, err
}

type inode struct{ dev, ino uint64 }

type counter struct {
	sum  snapshot.Usage
	seen map[inode]struct{} // those with several names
}

func (c *counter) add(st *syscall.Stat_t) {
	if st.Nlink > 1 && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		key := inode{uint64(st.Dev), st.Ino}
		if _, again := c.seen[key]; again {
			return
		}
		c.seen[key] = struct{}{}
	}
	c.sum.Bytes += uint64(st.Blocks) * 512
	c.sum.Inodes++
}

func (c *counter) below(ctx context.Context, d *sys.Dir) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := d.Entries()
	if err != nil {
		return fmt.Errorf("list folder: %w", err)
	}
	for _, e := range entries {
		st, err := d.Lstat(e.Name())
		if errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at %.200q: %w", e.Name(), err)
		}
		c.add(&st)
		if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			continue
		}
		child, err := d.OpenDir(e.Name())
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open folder %.200q: %w", e.Name(), err)
		}
		if err := errors.Join(c.below(ctx, child), child.Close()); err != nil {
			return err
		}
	}
	return nil
}
