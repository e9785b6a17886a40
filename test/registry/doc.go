// Package registry is a small real OCI registry for berth's tests, benchmarks and demo: it serves images of OCI layouts over
// HTTP or HTTPS on loopback, with basic or bearer authentication, and misbehaves on request.
//
// It follows the pull half of the OCI distribution specification 1.1 (sections "Pulling manifests" and "Pulling blobs", with
// byte ranges). A repository is served whatever host a mirror's ?ns= names. It never listens on anything but the
// address that it is given, and stores nothing.
//
// Faults and settings are guarded by the server's mutex, which is not held while a response is written.
package registry
