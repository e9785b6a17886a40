// Package ingest keeps the compressed bytes of layers while they are downloaded, so that a broken download goes on at its
// byte: in the next attempt, the next pull, or after a crash.
//
// It owns its folder. What it holds is unverified: whoever reads it back hashes it again together with the rest. (Saving
// the state of the hash instead would gain nothing: the bytes have to be decompressed again anyway, which costs more.)
// Nothing is synced; after a power cut the tail may be wrong, which the digest then shows.
//
// Locks: none. A [Spool] belongs to one goroutine, and the caller opens no two of one name at a time.
package ingest
