// Package prepare opens what a container's plan (runtime/plan) needs to become a program: its root, volumes, namespaces and
// terminal, and every place in the root that a mount, device or path of the spec means. It also reads the facts about the
// machine that plans depend on.
//
// The files belong to the Prepared until Program has taken them over; Close undoes what is left. Nothing is forked, and in
// the root only missing mount points and folders are made. The package holds no state of its own and no locks.
package prepare
