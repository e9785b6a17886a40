// Package fork starts processes by raw clone3 without sharing memory, at the speed of the kernel.
//
// What happens between clone and execve is data: a [Program], a list of system calls over an arena of strings and
// structures and a table of descriptors, built by a [Builder] from paths and files that plain Go resolved before. The
// child runs the list with raw system calls only; it never allocates, grows its stack or enters the scheduler, which
// a child with one thread of a Go process must not do. It reports the first call that fails, with its errno, on a
// close-on-exec pipe, so that [Start] returns a [StepError] on which errors.Is works.
//
// Why not os/exec: it offers no steps between fork and execve (golang/go#14180), and re-executing a Go program for
// them costs 1.4 ms and a binary that the container could reach (CVE-2019-5736). Why no CLONE_VM: a child that shares
// memory and sits in a container's memory cgroup lets the OOM killer take every process with the same memory.
//
// A Go program that forks pays for its memory: the kernel copies its page tables, and afterwards each page that either side writes to.
// One that forks often has [Servers] do it, copies of itself that have dropped all but their code.
//
// The package owns the descriptors of a Program until Close. It keeps no state and takes no locks of its own. It does
// not decide what a program does: any call may be in it, so programs are only accepted from root.
package fork
