// Package ports publishes the ports of pods on the node: the portMappings capability, for every plugin that takes it.
//
// It turns mappings into a plan (pure), refuses ports that a process of the node listens on, because the firewall would take its traffic
// away silently, and drops connections of UDP that the kernel still tracks under the old rules. The rules themselves are owned by
// package nft. No state, no locks.
package ports
