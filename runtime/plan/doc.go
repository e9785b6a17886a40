// Package plan decides what a container's first process, or one exec'd into it, does between fork and execve.
//
// [New] and [NewExec] are pure: an OCI spec and [Facts] about the machine go in, a [Plan] or a clear error comes out, and
// no system call is made. What a spec asks for and berth does not do is refused here, naming the field, before anything
// has an effect; what this machine can't do but peers let pass is done as well as possible and told in Warnings.
//
// Annotations are carried and change nothing: the list of those that berth takes orders from is empty. Other runtimes obey
// some (run.oci.*, org.systemd.property.*), and who may annotate a pod could thereby order the node about (CVE-2022-0811
// and CVE-2024-3154 were of that kind). One that is to mean something gets a name below io.berth. and is listed here.
//
// [Plan.Program] then writes the plan down as system calls over the [Files] that were opened meanwhile
// (runtime/prepare does that). Every path in it is resolved in the child by openat2 against the container's root, after
// pivot_root, when no host mount is left to escape to; sources are open files, never paths.
//
// The package holds no state, files or locks. Files belong to the program once it is built.
package plan
