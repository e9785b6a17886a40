// Package verify compares what is read with what was promised.
//
// It owns nothing and keeps no state beyond one stream. No locks: a [Reader] belongs to one goroutine.
package verify
