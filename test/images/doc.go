// Package images makes the container images that berth's tests and demo run, without Docker and without a registry of anyone
// else: busybox from the distribution's source package, and small programs of our own (folder guest) in the roles of nginx,
// httpd, pause and the others that the CRI conformance suite names.
//
// The result is an OCI image layout whose entries carry their repository and tag, without a host, as
// "org.opencontainers.image.ref.name"; package registry serves it. Builds are reproducible: the same inputs give the same digests.
//
// It never pushes, never pulls, and changes nothing of the machine: packages that it needs are asked for by name.
package images
