// Package manifest decodes what describes an image: manifests, indexes and configs, OCI's and Docker's.
//
// It is pure. Its input was written by anybody: it is bounded in size, depth and counts, every digest in it is checked,
// and a document that could be read as two different things is refused (CVE-2021-41190).
package manifest
