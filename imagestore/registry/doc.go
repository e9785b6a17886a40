// Package registry is a read-only client of the OCI distribution API, version 1.1: it resolves names to manifests and
// opens blobs, over mirrors and their order, authentication, retries and resumption.
//
// It owns connections and what it learned of each host (how long to leave it alone after a 429, whether a loopback
// registry speaks TLS). It writes nothing to disk, decides nothing about images, and never lets a credential reach an
// error, a log, or a host that it is not for.
//
// Locks: Client.mu guards small maps and is never held across I/O.
package registry
