// Package stream turns a layer's compressed bytes into its tar, ahead of whoever unpacks it.
//
// It owns the decoders and bounds their memory. It verifies nothing. No locks; a reader belongs to one goroutine, and
// [Ahead] runs one more until it is closed.
package stream
