package imagestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const maxUse = 64 << 10 // bytes of one file

// use is why layers stay: a snapshot, or a Retain. It is kept in a file of its own, which isn't synced: after a power cut
// there are no containers either.
type use struct {
	Image    string          `json:"image"`
	Layers   []digest.Digest `json:"layers"`
	Writable bool            `json:"writable"`

	written Usage // by the container, as far as known
}

// uses are all of them, by key.
type uses struct {
	dir string

	mu    sync.Mutex
	byKey map[string]use
	busy  map[string]chan struct{} // keys that a call is at work on
}

// claim makes a caller the only one at work on a key.
func (u *uses) claim(ctx context.Context, key string) (free func(), err error) {
	for {
		u.mu.Lock()
		other := u.busy[key]
		if other == nil {
			mine := make(chan struct{})
			u.busy[key] = mine
			u.mu.Unlock()
			return func() {
				u.mu.Lock()
				defer u.mu.Unlock()
				delete(u.busy, key)
				close(mine)
			}, nil
		}
		u.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (u *uses) get(key string) (use, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v, ok := u.byKey[key]
	return v, ok
}

// put records a use, for a restart too.
func (u *uses) put(key string, v use) error {
	data, err := json.Marshal(v)
	if err != nil {
		return errdefs.Bug("encode use %s: %w", key, err)
	}
	if err := atomicfile.Write(filepath.Join(u.dir, key), data, 0o600); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byKey[key] = v
	return nil
}

func (u *uses) remove(key string) error {
	if err := os.Remove(filepath.Join(u.dir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byKey, key)
	return nil
}

func (u *uses) keys() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]string, 0, len(u.byKey))
	for key := range u.byKey {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

func (u *uses) measured(key string, written Usage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if v, ok := u.byKey[key]; ok {
		v.written = written
		u.byKey[key] = v
	}
}

func (u *uses) usage() Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	var sum Usage
	for _, v := range u.byKey {
		sum.Bytes += v.written.Bytes
		sum.Inodes += v.written.Inodes
	}
	return sum
}

// load reads the files back. One that can't be read is moved aside; why holds one error for each.
func (u *uses) load() (why []error, err error) {
	u.byKey, u.busy = map[string]use{}, map[string]chan struct{}{}
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of uses: %w", err)
	}
	entries, err := os.ReadDir(u.dir)
	if err != nil {
		return nil, fmt.Errorf("read uses: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(u.dir, e.Name())
		if !validKey(e.Name()) { // left by a crash in the middle of a write
			err = errors.Join(err, os.Remove(path))
			continue
		}
		v, readErr := readUse(path)
		if readErr != nil {
			why = append(why, fmt.Errorf("use %s is dropped: %w", e.Name(), readErr))
			err = errors.Join(err, os.Remove(path))
			continue
		}
		u.byKey[e.Name()] = v
	}
	return why, err
}

func readUse(path string) (use, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return use{}, err
	}
	return decodeUse(data)
}

func decodeUse(data []byte) (use, error) {
	var v use
	if len(data) > maxUse {
		return use{}, errdefs.New(errdefs.ErrDataLoss, "%d bytes are too many", len(data))
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return use{}, errdefs.New(errdefs.ErrDataLoss, "decode: %w", err)
	}
	for _, d := range v.Layers {
		if _, err := reference.ParseDigest(string(d)); err != nil {
			return use{}, errdefs.New(errdefs.ErrDataLoss, "decode: %w", err)
		}
	}
	return v, nil
}

// validKey is the driver's rule: at most 200 bytes of [A-Za-z0-9_.-], not starting with a dot.
func validKey(key string) bool {
	if key == "" || len(key) > 200 || key[0] == '.' {
		return false
	}
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}
