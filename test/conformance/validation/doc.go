// Package validation runs the OCI project's validation programs (runtime-tools, pinned in the module below folder suite)
// with runc and with berth-oci, and writes what came out of both as a table. A program that passes with runc must pass with
// berth-oci, unless differences.txt says why not. Two of the programs race with their containers: the scripts in folder edits
// change their configurations so that they no longer do, for both runtimes.
package validation
