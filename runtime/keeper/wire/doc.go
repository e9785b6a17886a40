// Package wire is what berthd and the keeper say to each other: message types, their bounded binary form, and how files
// and large payloads travel beside them. Server and client both use it, so that the two ends can't drift apart.
//
// Everything that is read from a socket is verified here before anyone uses it. The package does no I/O of its own
// but for the sealed memory files of large payloads, holds no state and no locks.
package wire
