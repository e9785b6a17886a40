package imagestore

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is one image of the store, the same value whether it was asked for by ID, tag or digest.
type Image struct {
	ID      string          // "sha256:…": the digest of the config, as Docker and CRI count identity
	Tags    []string        // "docker.io/library/busybox:1.36", sorted; empty when pulled by digest only
	Digests []string        // "docker.io/library/busybox@sha256:…", sorted
	Size    int64           // bytes: the unpacked layers, the config and the manifests
	Config  ocispec.Image   // decoded and bounded config
	Layers  []digest.Digest // diffIDs, lowest first
	Pinned  bool            // the kubelet's image GC must leave it alone
}

// FsInfo is what the store takes on its file system: layers, records and broken downloads, from counters, and the
// writable snapshots as far as [Store.Usage] was asked for them.
type FsInfo struct {
	Path           string // the store's root folder: on the file system that is meant
	Bytes, Inodes  uint64 // images
	Snapshots      Usage  // writable layers of containers
	BytesFree      uint64 // of the whole file system
	BytesCapacity  uint64
	InodesFree     uint64
	InodesCapacity uint64
}

// Usage is disk space taken.
type Usage struct{ Bytes, Inodes uint64 }

// Progress tells how far a pull is. Totals grow while manifests are read; Done never exceeds Total.
type Progress struct {
	Stage       string // "resolve", "layers", "commit"
	Done, Total int64  // bytes of compressed layers, those already here counted as done
}
