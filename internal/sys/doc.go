// Package sys holds the system calls that the standard library lacks, as thin typed functions, one file per concern.
//
// It owns no policy and no state: a call retries EINTR, makes every new file descriptor O_CLOEXEC, returns owned values
// (*os.File, [Dir]) instead of numbers, and returns the bare errno, so that callers add the words. Only this package, the
// fork package and netns may import golang.org/x/sys/unix.
package sys
