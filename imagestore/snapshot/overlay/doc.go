// Package overlay is the snapshot driver that unpacks each layer into a folder of its own and stacks the folders with
// overlayfs. It needs Linux 5.10 (volatile mounts) and a file system that can hold overlay's upper folders: ext4, xfs,
// btrfs, tmpfs, but not overlayfs itself.
//
//	ROOT/layers/sha256-HEX/{fs/,layer.json}        committed layers, never changed
//	ROOT/snapshots/KEY/{upper/,work/,snapshot.json}
//	ROOT/places/                                    the lowest layer of all snapshots: empty files that are mounted over
//	ROOT/tmp/                                       whatever is being made or deleted; emptied at Open
//
// It owns everything below ROOT, which is mode 0700 and locked by one process. It never resolves a path that a layer
// wrote against the host: layers are unpacked through folder fds, name by name, and where a layer's own symbolic link is
// on the way, by openat2 with the layer as root.
//
// Crash safety: a layer is made in tmp, brought to the disk with syncfs, renamed, and the folder of layers is synced.
// Snapshots are renamed into place and never synced; they don't outlive a reboot: after one, they can only be discarded.
//
// Locks: Driver.mu guards the index of snapshots in memory, syncer.mu a list of waiters, and deleter.mu a list of folders; none is
// held across I/O.
package overlay
