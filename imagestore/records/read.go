package records

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Image returns a record, or an error of kind NotFound.
func (db *DB) Image(id digest.Digest) (Image, error) {
	var m Image
	err := db.view(func(tx *bbolt.Tx) (err error) {
		m, err = get(tx, string(id))
		return err
	})
	return m, err
}

// ByName finds a tag or name@digest.
func (db *DB) ByName(name string) (Image, error) {
	var m Image
	err := db.view(func(tx *bbolt.Tx) (err error) {
		id := tx.Bucket(namesBucket()).Get([]byte(name))
		if id == nil {
			return errdefs.NotFound("no image %s", name)
		}
		m, err = get(tx, string(id))
		return err
	})
	return m, err
}

// ByPrefix finds the image whose ID starts with hexadecimal digits. More than one is an error of kind Invalid.
func (db *DB) ByPrefix(hex string) (Image, error) {
	prefix := []byte("sha256:" + hex)
	var m Image
	err := db.view(func(tx *bbolt.Tx) (err error) {
		c := tx.Bucket(imagesBucket()).Cursor()
		id, _ := c.Seek(prefix)
		if !bytes.HasPrefix(id, prefix) {
			return errdefs.NotFound("no image %s", hex)
		}
		if other, _ := c.Next(); bytes.HasPrefix(other, prefix) {
			return errdefs.Invalid("more than one image ID starts with %s", hex)
		}
		m, err = get(tx, string(id))
		return err
	})
	return m, err
}

// Images returns all records by ID. Those that can't be read are left out: [DB.Quarantine] deals with them at start.
func (db *DB) Images() ([]Image, error) {
	var list []Image
	err := db.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(imagesBucket()).ForEach(func(id, data []byte) error {
			if m, err := decode(string(id), data); err == nil {
				list = append(list, m)
			}
			return nil
		})
	})
	return list, err
}

// Blob returns a raw manifest or config, or an error of kind NotFound. The bytes are checked against the digest.
func (db *DB) Blob(d digest.Digest) ([]byte, error) {
	var data []byte
	err := db.view(func(tx *bbolt.Tx) error {
		data = bytes.Clone(tx.Bucket(blobsBucket()).Get([]byte(d)))
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case data == nil:
		return nil, errdefs.NotFound("no blob %s", d)
	case d.Algorithm().FromBytes(data) != d:
		return nil, errdefs.New(errdefs.ErrDataLoss, "blob %s in %s does not have that digest", d, db.path)
	}
	return data, nil
}

// Has tells whether a raw blob is there.
func (db *DB) Has(d digest.Digest) bool {
	_, err := db.Blob(d)
	return err == nil
}

func get(tx *bbolt.Tx, id string) (Image, error) {
	data := tx.Bucket(imagesBucket()).Get([]byte(id))
	if data == nil {
		return Image{}, errdefs.NotFound("no image %s", id)
	}
	return decode(id, data)
}

// Quarantine moves records aside that can't be decoded or that usable refuses, so that they can be pulled again, and
// returns why, one error for each.
func (db *DB) Quarantine(usable func(Image) error) (why []error, err error) {
	raw := map[string][]byte{}
	err = db.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(imagesBucket()).ForEach(func(id, data []byte) error {
			raw[string(id)] = bytes.Clone(data)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	for id, data := range raw {
		m, err := decode(id, data)
		if err == nil {
			err = usable(m)
		}
		if err == nil {
			delete(raw, id)
			continue
		}
		why = append(why, fmt.Errorf("image %s is put aside, pull it again: %w", id, err))
	}
	if len(raw) == 0 {
		return nil, nil
	}
	return why, db.update(func(tx *bbolt.Tx) error {
		var err error
		for id, data := range raw {
			err = errors.Join(err, tx.Bucket(quarantineBucket()).Put([]byte(id), data), tx.Bucket(imagesBucket()).Delete([]byte(id)))
		}
		return errors.Join(err, dropNames(tx), dropBlobs(tx))
	})
}
