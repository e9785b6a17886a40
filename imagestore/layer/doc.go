// Package layer reads an image layer: a tar stream as the OCI image spec defines it, written by anybody.
//
// It owns the checks: names, links, types, owners, times, extended attributes, sizes and counts are verified and bounded
// before a caller sees them, and whiteouts are told apart from files. It never touches a file system and keeps nothing
// beyond the entry in hand, so its memory is bounded by [Limits] whatever the stream says. No locks: a [Reader] belongs
// to one goroutine.
package layer
