// Package reference reads image names the way Docker does: "busybox" means docker.io/library/busybox:latest.
//
// It is pure: it asks no registry and no store. The grammar is that of the distribution project's reference format
// (which the OCI distribution specification, section "Pulling manifests", narrows for repository names and tags).
package reference
