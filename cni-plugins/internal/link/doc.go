// Package link makes and removes the links of pods: bridges, veth pairs, their addresses, routes and rate limits.
//
// Everything goes through the netlink socket of a netns.Handle, so no thread changes its namespace. It owns the host links
// that it names (see [HostName]) and the bridges that it made, which it marks with a link group. Nothing here waits: addresses are added without
// duplicate address detection unless asked for, and a veth's far end is made where it belongs, because moving it costs 20 ms.
//
// # Removal
//
// Deleting a link makes the caller wait for the kernel's grace periods, 15 to 20 ms. A pod's link dies with the pod's namespace anyway,
// in the kernel's own time, and runtimes remove that right after DEL. So [Condemn] only cuts the link off: down at both ends, without
// addresses, off the bridge, under another name. [Reap] deletes all condemned links in one call; GC does that for the
// case that a namespace lives on, and the next Condemn in that namespace.
//
// No state, no locks: concurrent calls meet in the kernel, and EEXIST is an answer.
package link
