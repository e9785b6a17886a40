// Package records keeps what the store knows of its images, in one bbolt file: records, names, and the raw manifests and
// configs, byte for byte as their digests say.
//
// It owns the file and nothing else: it knows layers by name only. A commit is one transaction, so a record is there
// with everything it refers to, or not at all, after a power cut too. A damaged file is an error that says what to do; a
// damaged record is moved aside and reported, and the others go on.
//
// Locks: bbolt's, one writer at a time, readers never wait; and its lock on the file, which keeps a second process out.
package records
