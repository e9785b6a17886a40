// Package arch holds the rules of this repository's architecture as tests: who may import what and why, no cgo, no init, no
// package-level state, one package comment each. It reads source and the go command's list of packages, and runs nothing.
package arch
