// Package userns makes user namespaces and the namespaces that belong to them, reads their mappings, and translates IDs.
//
// A program with many threads can't enter a user namespace, nor make one for itself (user_namespaces(7)). So a child that
// does nothing holds it until its files are open, and is then killed; it also ends when its parent does. Maps are written
// by root, so newuidmap(1) and its friends have no part in this.
//
// The files that functions return are the caller's. The package keeps no state.
package userns
