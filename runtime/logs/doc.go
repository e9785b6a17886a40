// Package logs writes container logs in the format of the CRI:
//
//	2016-10-06T00:17:09.669794202Z stdout F a whole line
//	2016-10-06T00:17:10.113242941Z stderr P the beginning of a longer one
//
// (k8s.io/cri-api, "The container log"; design document kubelet-cri-logging.md). A line of more than 16 KiB is split
// into P records and a last F record.
//
// The format is deterministic: the same bytes at the same time give the same records, of a length that does not depend
// on the time, because timestamps are UTC with nine digits. So a writer that was killed half way can be succeeded by one
// that writes exactly what is missing.
//
// The package owns open log files. It never reads, rotates, compresses or deletes one: the kubelet does. It has no locks;
// a [File] belongs to one goroutine at a time.
package logs
