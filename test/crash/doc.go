// Package crash kills berth's processes with SIGKILL, at rest and in the middle of requests, and wants pods to run on,
// output and exit codes to be kept, and nothing to be left when the pods are removed.
package crash
