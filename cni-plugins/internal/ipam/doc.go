// Package ipam delegates address management to the plugin that a configuration names, as the CNI specification asks of interface
// plugins: same environment, same configuration, found on CNI_PATH.
//
// When that plugin turns out to be the host-local of berth itself, built from the same source as the caller, it runs in-process and
// saves an exec. The package owns nothing; a delegate owns its addresses.
package ipam
