package records

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// lockWait is how long a predecessor may take to let go of the file.
const lockWait = 2 * time.Second

// The buckets.
func imagesBucket() []byte     { return []byte("images") }     // ID → Image
func namesBucket() []byte      { return []byte("names") }      // tag or name@digest → ID
func blobsBucket() []byte      { return []byte("blobs") }      // digest → raw manifest or config
func pullsBucket() []byte      { return []byte("pulls") }      // manifest digest → Pull
func quarantineBucket() []byte { return []byte("quarantine") } // ID → record that could not be used

// DB is the open file.
type DB struct {
	bolt *bbolt.DB
	path string
}

// Open opens or makes the file and checks its structure. Another process that has it open is an error of kind
// FailedPrecondition, a damaged file one of kind DataLoss.
func Open(path string) (*DB, error) {
	db := &DB{path: path}
	err := db.guard(func() (err error) {
		db.bolt, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
		return err
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errdefs.FailedPrecondition("open %s: another process has it open; stop it, or give this one another root folder", path)
	}
	if err != nil {
		return nil, db.explain(err)
	}
	if err := db.guard(db.prepare); err != nil {
		return nil, errors.Join(db.explain(err), db.guard(db.bolt.Close))
	}
	return db, nil
}

// Close lets go of the file.
func (db *DB) Close() error { return db.bolt.Close() }

// Path is where the file is.
func (db *DB) Path() string { return db.path }

// Size is what it takes on disk.
func (db *DB) Size() (int64, error) {
	fi, err := os.Stat(db.path)
	if err != nil {
		return 0, fmt.Errorf("size of image records: %w", err)
	}
	return fi.Size(), nil
}

func (db *DB) prepare() error {
	err := db.bolt.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{imagesBucket(), namesBucket(), blobsBucket(), pullsBucket(), quarantineBucket()} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.bolt.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() { // to its end: it is another goroutine's loop
			if first == nil {
				first = err
			}
		}
		if first != nil {
			return errdefs.New(errdefs.ErrDataLoss, "check: %w", first)
		}
		return nil
	})
}

// guard turns what bbolt does on a damaged file, a panic or a fault in its memory map, into an error.
func (db *DB) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = errdefs.New(errdefs.ErrDataLoss, "%v", p)
		}
	}()
	return f()
}

// explain adds the file and the remedy.
func (db *DB) explain(err error) error {
	for _, damage := range []error{errdefs.ErrDataLoss, bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return errdefs.New(errdefs.ErrDataLoss, "image records %s are damaged (%w): move the file away and start again; images will be pulled anew", db.path, err)
		}
	}
	return fmt.Errorf("image records %s: %w", db.path, err)
}

func (db *DB) view(f func(tx *bbolt.Tx) error) error {
	return db.wrap(db.guard(func() error { return db.bolt.View(f) }))
}

func (db *DB) update(f func(tx *bbolt.Tx) error) error {
	return db.wrap(db.guard(func() error { return db.bolt.Update(f) }))
}

// wrap leaves the package's own answers alone.
func (db *DB) wrap(err error) error {
	if err == nil || errors.Is(err, errdefs.ErrNotFound) {
		return err
	}
	return db.explain(err)
}
