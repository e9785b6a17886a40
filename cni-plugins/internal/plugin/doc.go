// Package plugin is the frame of a CNI plugin: it reads and checks a request, calls the plugin's function for it, and prints the
// result or the error as the CNI specification 1.1 wants them.
//
// It owns the process's standard streams: a result or an error object goes to stdout, once; words for people go to stderr.
// It refuses a request that can't be right before any function of the plugin runs, among them one whose namespace is the
// host's own. Errors become CNI codes in codes.go and nowhere else. The package has no state and no locks.
package plugin
