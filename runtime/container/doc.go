// Package container runs containers: it turns an OCI runtime spec into a program (runtime/plan), has what the program needs
// opened (runtime/prepare), hands it to the keeper to be forked, and follows the process until its end.
//
// It owns: the control groups of containers, their stdio folders below Config.State, every file that a created container
// holds, a pidfd and (for terminals) a duplicate of the pty master per running one, and the connection to the keeper. It
// does not own: root file systems (a detached mount is given to Create), namespaces that the spec names by path, logs
// (the keeper writes them), nor any record on disk: after a restart its caller tells it by Restore what exists.
//
// Nothing that Create refuses has had an effect. Delete may be called at any time and any number of times.
//
// Locks: Runtime.mu guards the map of containers, each container's mu its fields; mu of Runtime comes first. Neither is held
// across a system call that can block, the keeper's socket or a wait.
package container
