// Package groups runs those groups of critest's specs whose outcome is up to the kernel, its control groups and its security
// modules, one test a spec. The virtual machine runs them; `make conformance` runs the whole suite where it is called.
package groups
