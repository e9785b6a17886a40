// Package imagestore is the node's image store: it pulls images from registries, keeps their layers and records, and
// hands out root file systems made of them.
//
// It owns everything under its root folder: the records (images.db), the layers and snapshots (through a
// [snapshot.Driver]) and broken downloads waiting to be resumed (ingest). It never runs anything of an image, never
// mounts into the caller's mount namespace (mounts are handed out detached), and never asks a registry for anything
// but manifests, configs and layers.
//
// What a pull answered survives a power cut: layers are verified (both digests and the size) and on the disk under
// their final names before the record that refers to them is, and the record is before the answer.
//
// Locks: the records are owned by bbolt, which serialises its writers; layerRefs.mu and group.mu guard maps only and
// are never held across I/O, nor both at once.
package imagestore
