// Package network attaches pods to the node's pod network through CNI plugins, and is the only user of libcni.
//
// It owns the folder Config.CacheDir: one record per attachment (what was asked for, with the configuration of then, written
// before the first plugin runs) and libcni's cached results. So a Teardown works after the daemon was killed half-way through a
// Setup, and after the network's configuration changed or went away. It never touches links, addresses or firewalls itself:
// plugins do.
//
// The pod network is the first file in the configuration folder, by name. The folder is read again at each call, so
// changes count at once and no watcher can miss one. When the folder holds none and no Kubernetes agent manages this node,
// the built-in default network is used: a bridge with berth's own plugins.
//
// Plugins that were built from berth's own source serve one call after another in a process that ends after three seconds without any, as
// its start takes longer than a call: see servers and package cniwire. All others are executed for each call, as CNI says.
//
// # Order
//
// Attachments of different pods run in parallel. As the CNI specification asks, GC runs alone: it waits for the Setups and
// Teardowns under way and holds new ones up. That gate is a counting semaphore which gives up when a context ends; it is no lock.
// Network.mu guards only the list of live attachments and is never held across I/O.
package network
