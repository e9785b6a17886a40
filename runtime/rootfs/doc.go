// Package rootfs reads and prepares files inside a container's root file system, which may be hostile in every way.
//
// Every path is resolved by the kernel against one open root (openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS), so
// that no link, however it is swapped meanwhile, leads out of it; nothing is resolved twice, and no helper is run from
// there. What is read is bounded, and only regular files are read: a FIFO in place of /etc/passwd can't hang the caller.
//
// The package keeps no state and no locks. It owns the files that it opens and never those that it was given.
package rootfs
