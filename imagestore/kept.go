package imagestore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/records"
)

const (
	// keepFor is how long the layers and bytes of a broken pull wait for the next try.
	keepFor = 6 * time.Hour
	// retryWithin is how long they do when space is being made; the kubelet's longest wait between tries is 5 minutes.
	retryWithin = 10 * time.Minute
)

// keptPulls hold the layers of pulls that broke, by manifest.
type keptPulls struct {
	mu   sync.Mutex
	pull map[digest.Digest]records.Pull
}

// put keeps a pull; an older one of the same manifest is returned, to be dropped.
func (k *keptPulls) put(manifest digest.Digest, p records.Pull) (old records.Pull) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pull == nil {
		k.pull = map[digest.Digest]records.Pull{}
	}
	old = k.pull[manifest]
	k.pull[manifest] = p
	return old
}

func (k *keptPulls) take(manifest digest.Digest) records.Pull {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pull[manifest]
	delete(k.pull, manifest)
	return p
}

// older takes out what was begun before a time.
func (k *keptPulls) older(than time.Time) map[digest.Digest]records.Pull {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[digest.Digest]records.Pull{}
	for m, p := range k.pull {
		if p.Started.Before(than) {
			out[m] = p
			delete(k.pull, m)
		}
	}
	return out
}

// recoverPulls keeps the layers of pulls that a crash ended.
func (s *Store) recoverPulls(ctx context.Context) error {
	found, err := s.records.Pulls()
	if err != nil {
		return err
	}
	for m, p := range found {
		if err := s.refs.hold(ctx, p.Layers); err != nil {
			return err
		}
		s.kept.put(m, p)
	}
	return s.expire(ctx, time.Now().Add(-keepFor))
}

// expire drops what broken pulls left before a time: layers, bytes and intent.
func (s *Store) expire(ctx context.Context, before time.Time) error {
	var errs []error
	var manifests []digest.Digest
	for m, p := range s.kept.older(before) {
		errs = append(errs, s.refs.drop(ctx, p.Layers))
		manifests = append(manifests, m)
	}
	errs = append(errs, s.records.Forget(manifests...), s.ingest.Sweep(before))
	return errors.Join(errs...)
}
