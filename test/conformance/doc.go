// Package conformance runs the CRI project's validation suite (critest, pinned in the module below folder suite) against a
// runtime of its own, and compares every spec's result with what is expected: known-failures.txt lists the specs that fail
// and why. A listed spec that passes fails the run as an unlisted one that fails does.
package conformance
