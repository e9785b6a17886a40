package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// run applies the writes in order. Of a chain of linked ones, those that the kernel refuses by EINVAL are tried again after
// the others: values that fit together may have to pass each other in either order.
func run(writes []write, apply func(write) error) error {
	for len(writes) > 0 {
		n := 1
		for n < len(writes) && writes[n-1].linked {
			n++
		}
		if err := runChain(writes[:n], apply); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}

func runChain(chain []write, apply func(write) error) error {
	for {
		var refused []write
		var first error
		for _, w := range chain {
			err := apply(w)
			switch {
			case err == nil:
			case len(chain) == 1, !errors.Is(err, syscall.EINVAL):
				return err
			default:
				refused = append(refused, w)
				first = firstError(first, err)
			}
		}
		if len(refused) == 0 || len(refused) == len(chain) {
			return first
		}
		chain = refused
	}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// choose returns w, or where its file is missing what may be written instead.
func (w write) choose(group *sys.Dir) write {
	for w.or != nil {
		if _, err := group.Lstat(w.file); !gone(err) {
			break
		}
		w = *w.or
	}
	return w
}

// apply writes one value and puts the kernel's answer into words.
func (w write) apply(group *sys.Dir) error {
	err := group.WriteFile(w.file, w.value)
	switch {
	case err == nil, w.optional && errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return errdefs.New(errdefs.ErrNotSupported, "linux.resources.%s: set %s: this kernel, or the parent group, does not offer it: %w", w.field, w.file, err)
	case errors.Is(err, syscall.EOPNOTSUPP):
		return errdefs.New(errdefs.ErrNotSupported, "linux.resources.%s: set %s to %q: not on this device or with its scheduler: %w", w.field, w.file, w.value, err)
	case errors.Is(err, syscall.EBUSY) && strings.HasPrefix(w.file, "memory."):
		return errdefs.New(errdefs.ErrFailedPrecondition, "linux.resources.%s: set %s to %s: more is in use and can't be reclaimed: %w", w.field, w.file, w.value, err)
	case errors.Is(err, syscall.ENODEV) && w.keyed:
		return errdefs.New(errdefs.ErrInvalid, "linux.resources.%s: set %s to %q: there is no such device: %w", w.field, w.file, w.value, err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE), errors.Is(err, syscall.EACCES):
		return errdefs.New(errdefs.ErrInvalid, "linux.resources.%s: set %s to %q: the kernel refuses it, by itself or beside the parent's limits: %w", w.field, w.file, w.value, err)
	default:
		return fmt.Errorf("linux.resources.%s: set %s to %q: %w", w.field, w.file, w.value, err)
	}
}
