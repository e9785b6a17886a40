// Package journal is the keeper's memory beyond its death: an append-only file with what was started, how it ended and
// what was forgotten.
//
// A record is written by one write(2), so a keeper that is killed leaves whole records and at most one that is cut. What is
// on the file after a power cut does not matter: no process outlives it, so nothing is synced.
//
// The package owns the file. Records that can't be read are set aside, reported and never fatal. Lock: File.mu orders
// appends and compaction; both are writes to a tmpfs, which don't wait for a device.
package journal
