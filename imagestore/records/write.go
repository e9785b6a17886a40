package records

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Pull is the intent to make an image, written before its first layer is. While it stands, layers that are here already
// are kept for the next try, also after a crash.
type Pull struct {
	Layers  []digest.Digest `json:"layers"`
	Started time.Time       `json:"started"`
}

// Begin records a pull by the digest of its manifest.
func (db *DB) Begin(manifest digest.Digest, p Pull) error {
	data, err := json.Marshal(p)
	if err != nil {
		return errdefs.Bug("encode pull %s: %w", manifest, err)
	}
	return db.update(func(tx *bbolt.Tx) error { return tx.Bucket(pullsBucket()).Put([]byte(manifest), data) })
}

// Pulls returns the intents that neither were committed nor forgotten. One that can't be read is dropped.
func (db *DB) Pulls() (map[digest.Digest]Pull, error) {
	found := map[digest.Digest]Pull{}
	err := db.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(pullsBucket()).ForEach(func(key, data []byte) error {
			found[digest.Digest(key)] = decodePull(data)
			return nil
		})
	})
	return found, err
}

// decodePull returns a pull that began at the dawn of time, and so will be forgotten, for one that can't be read.
func decodePull(data []byte) Pull {
	var p Pull
	if json.Unmarshal(data, &p) != nil {
		return Pull{}
	}
	for _, d := range p.Layers {
		if _, err := reference.ParseDigest(string(d)); err != nil {
			return Pull{}
		}
	}
	return p
}

// Forget drops intents.
func (db *DB) Forget(manifests ...digest.Digest) error {
	if len(manifests) == 0 {
		return nil
	}
	return db.update(func(tx *bbolt.Tx) error {
		var err error
		for _, m := range manifests {
			err = errors.Join(err, tx.Bucket(pullsBucket()).Delete([]byte(m)))
		}
		return err
	})
}

// Commit puts an image, its raw blobs and its names in, and ends the intent, in one durable transaction. A record that
// is there already gains the names. A tag moves here from the image that had it. It reports whether the record is new.
func (db *DB) Commit(m Image, blobs map[digest.Digest][]byte, pull digest.Digest) (created bool, err error) {
	err = db.update(func(tx *bbolt.Tx) error {
		old, err := get(tx, string(m.ID))
		created = errors.Is(err, errdefs.ErrNotFound)
		if err != nil && !created {
			return err
		}
		for _, tag := range m.Tags {
			if err := takeTag(tx, tag, m.ID); err != nil {
				return err
			}
		}
		for d, data := range blobs {
			if err := tx.Bucket(blobsBucket()).Put([]byte(d), data); err != nil {
				return err
			}
		}
		if !created {
			m = merge(old, m)
		}
		return errors.Join(put(tx, m), tx.Bucket(pullsBucket()).Delete([]byte(pull)))
	})
	return created, err
}

// merge adds new names and manifests to an old record.
func merge(old, m Image) Image {
	for _, s := range m.Tags {
		old.Tags = with(old.Tags, s)
	}
	for _, s := range m.Digests {
		old.Digests = with(old.Digests, s)
	}
	for _, d := range m.Manifests {
		old.Manifests = with(old.Manifests, d)
	}
	return old
}

// takeTag removes a tag from another image, which keeps its digests.
func takeTag(tx *bbolt.Tx, tag string, id digest.Digest) error {
	owner := string(tx.Bucket(namesBucket()).Get([]byte(tag)))
	if owner == "" || owner == string(id) {
		return nil
	}
	m, err := get(tx, owner)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Tags = without(m.Tags, tag)
	return put(tx, m)
}

func put(tx *bbolt.Tx, m Image) error {
	slices.Sort(m.Tags)
	slices.Sort(m.Digests)
	slices.Sort(m.Manifests)
	data, err := m.encode()
	if err != nil {
		return errdefs.Bug("encode record of image %s: %w", m.ID, err)
	}
	for _, name := range m.names() {
		if err := tx.Bucket(namesBucket()).Put([]byte(name), []byte(m.ID)); err != nil {
			return err
		}
	}
	return tx.Bucket(imagesBucket()).Put([]byte(m.ID), data)
}

// Remove drops an image with all its names and blobs. It returns the record, or an error of kind NotFound.
func (db *DB) Remove(id digest.Digest) (Image, error) {
	var m Image
	err := db.update(func(tx *bbolt.Tx) (err error) {
		if m, err = get(tx, string(id)); err != nil {
			return err
		}
		if err := tx.Bucket(imagesBucket()).Delete([]byte(id)); err != nil {
			return err
		}
		return errors.Join(dropNames(tx), dropBlobs(tx))
	})
	return m, err
}

// dropNames removes names that no record has.
func dropNames(tx *bbolt.Tx) error {
	return dropUnless(tx.Bucket(namesBucket()), tx, func(m Image, keep map[string]bool) {
		for _, name := range m.names() {
			keep[name] = true
		}
	})
}

// dropBlobs removes manifests and configs that no record needs; an index may be that of several images.
func dropBlobs(tx *bbolt.Tx) error {
	return dropUnless(tx.Bucket(blobsBucket()), tx, func(m Image, keep map[string]bool) {
		keep[string(m.ID)] = true
		for _, d := range m.Manifests {
			keep[string(d)] = true
		}
	})
}

func dropUnless(b *bbolt.Bucket, tx *bbolt.Tx, mark func(Image, map[string]bool)) error {
	keep := map[string]bool{}
	err := tx.Bucket(imagesBucket()).ForEach(func(id, data []byte) error {
		if m, err := decode(string(id), data); err == nil {
			mark(m, keep)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var drop [][]byte
	err = b.ForEach(func(key, _ []byte) error {
		if !keep[string(key)] {
			drop = append(drop, slices.Clone(key))
		}
		return nil
	})
	for _, key := range drop {
		err = errors.Join(err, b.Delete(key))
	}
	return err
}
