// Package alloc hands out the addresses of a network on one node, and remembers who has which.
//
// It owns one folder per network with one file, "allocations": lines of text of a fixed length, one for each address that is taken
// or was, found by hash chains. What a request reads and writes does not depend on how many there are. The file knows its boot:
// allocations of an earlier one are void, because no container survives a reboot, so nothing is ever synced to a disk. A change
// is marked before it begins and valid when the mark is gone; what a killed process has left half done is undone by the
// next. From a damaged file nothing is handed out, since that could give one address to two containers; [Store.GC] repairs it as
// soon as the entries that are whole explain every attachment that is in use.
//
// A freed address is kept in mind for a while: its pod gets it back, and others do not get it while it cools down. The search goes
// round, so a freed address rests as long as the range has others.
//
// Processes exclude each other by flock on the folder; it is held while the file is read and changed and never while anything
// else waits. Range, Set and Pool are plain values without locks.
package alloc
