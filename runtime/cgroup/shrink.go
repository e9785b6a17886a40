package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// setMemoryMax writes cgroup2's memory.max. The kernel takes a limit below the present use at its word: it reclaims, and
// what it can't reclaim it kills for (Documentation/admin-guide/cgroup-v2.rst, "memory.max"). v1 answers EBUSY instead.
// So a smaller limit is approached by what never kills, and refused if that is not enough.
func (o *openGroup) setMemoryMax(ctx context.Context, d *sys.Dir, w write) error {
	limit, ok := parseBytes(w.value)
	if !ok {
		return w.apply(d) // nonsense; the kernel will say so
	}
	now, err := readNumber(d, "memory.max")
	if err != nil || limit >= now {
		return errors.Join(optional(err), w.apply(d))
	}
	s := shrink{group: o.group, dir: d, limit: limit, field: w.field}
	return s.run(ctx, func() error { return w.apply(d) })
}

// shrink makes a group that uses more fit under a limit.
type shrink struct {
	group *Group
	dir   *sys.Dir
	limit uint64
	field string
}

// run holds the group's use down by memory.high, takes away what is above, has the group stand still, so that nothing can
// be added between the last look and the new limit, and calls apply.
func (s *shrink) run(ctx context.Context, apply func() error) (err error) {
	data, err := s.dir.ReadFile("memory.high", maxFile)
	if err != nil {
		return fmt.Errorf("read memory.high: %w", err)
	}
	high := strings.TrimSpace(string(data))
	if n, ok := parseBytes(high); ok && n > s.limit {
		if err := s.setHigh(strconv.FormatUint(s.limit, 10)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.setHigh(high)) }()
	}
	if err := s.reclaim(ctx); err != nil {
		return err
	}
	return s.still(ctx, func() error {
		if err := s.reclaim(ctx); err != nil {
			return err
		}
		return apply()
	})
}

func (s *shrink) setHigh(value string) error {
	if err := s.dir.WriteFile("memory.high", value); err != nil {
		return fmt.Errorf("set memory.high to %s around the update: %w", value, err)
	}
	return nil
}

// reclaimTries is how often nothing may come of a reclaim before it counts as impossible, as in the kernel's own loop
// (MAX_RECLAIM_RETRIES).
const reclaimTries = 16

// reclaim takes memory away until the use is not above the limit. memory.reclaim is of Linux 5.19; before, writing
// memory.high, which reclaims too, is all there is.
func (s *shrink) reclaim(ctx context.Context) error {
	last := uint64(noLimit)
	for tries := 0; ; {
		used, err := readNumber(s.dir, "memory.current")
		if err != nil || used <= s.limit {
			return err
		}
		if used >= last {
			tries++
		}
		if last = min(last, used); tries > reclaimTries {
			return errdefs.FailedPrecondition("linux.resources.%s: %d bytes are in use and can't be reclaimed, more than %d", s.field, used, s.limit)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err = s.dir.WriteFile("memory.reclaim", strconv.FormatUint(used-s.limit, 10))
		if gone(err) {
			err = s.setHigh(strconv.FormatUint(s.limit, 10))
		}
		if err != nil && !errors.Is(err, syscall.EAGAIN) { // EAGAIN: less than was asked for
			return fmt.Errorf("reclaim memory: %w", err)
		}
	}
}

// stillTime is how long processes may take to stand still. One that is above memory.high may be in a sleep of two seconds
// for each try to reclaim (MEMCG_MAX_HIGH_DELAY_JIFFIES); one that waits for a dead disk never wakes.
const stillTime = 15 * time.Second

// still runs f while the group is frozen. One that is already stays so.
func (s *shrink) still(ctx context.Context, f func() error) error {
	frozen, err := s.group.Frozen()
	if err != nil {
		return err
	}
	if frozen {
		return f()
	}
	wait, cancel := context.WithTimeout(ctx, stillTime)
	defer cancel()
	if err := s.group.Freeze(wait); err != nil {
		return errdefs.New(errdefs.ErrFailedPrecondition, "linux.resources.%s: it can't be lowered while a process does not stand still: %w", s.field, err)
	}
	return errors.Join(f(), s.group.Thaw())
}
