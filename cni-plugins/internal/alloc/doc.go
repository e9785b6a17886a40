// Package alloc hands out the addresses of a network on one node, and remembers who has which.
//
// It owns one folder per network with one file, "allocations". The file is replaced by a rename, so a kill at any time leaves the
// old content or the new. It starts with the boot id and the number of its entries: allocations of an earlier boot are void,
// because no container survives a reboot, and a file that something cut short is noticed. From a damaged file nothing is handed
// out, since that could give one address to two containers; [Store.GC] repairs it as soon as the entries that
// are left explain every attachment that is in use.
//
// Processes exclude each other by flock on the folder; it is held while the file is read and replaced and never
// while anything else waits. Ranges and State are plain values without locks.
package alloc
