// Package codec is the binary form that the keeper's messages and its state are built of: little-endian numbers, and texts behind
// their length. An [Encoder] appends, a [Decoder] takes apart what it does not trust: every length is bounded, and after the
// first error it returns zero values, so that a form is read in one go and asked once whether it was right.
//
// It owns nothing and has no locks.
package codec
