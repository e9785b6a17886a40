// Package crilog reads container logs in CRI's format, "TIME STREAM TAG CONTENT" a line, and follows them while they are
// written and rotated.
//
// A log is what a container said, so its lines are bounded and checked; what is no log line is passed on as it is, rather
// than lost. The package only reads.
package crilog
