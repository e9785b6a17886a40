// Package handover is the form of what a keeper hands to the program that it turns into (execve of a newer binary): which of its open
// files are what, and what is in its memory and nowhere else. All that the journal and the cursors know stays there.
//
// The form has a version of its own, a length and a checksum; a program that can't read it says so before anything is
// given up (see [Answer]). Its content comes from a keeper, and is not trusted for that: everything is bounded, and no file may
// stand for two things.
//
// It owns nothing and has no locks.
package handover
