// Package netdev moves network devices of the host into a container's network namespace (runtime-spec 1.3,
// config-linux.md, "Network Devices"). A device keeps its attributes and its permanent addresses of global scope, may get
// another name, and is up afterwards.
//
// Nothing is moved back at a container's end, as the spec demands: the kernel does that with the namespace. It returns
// physical devices to the host's namespace and destroys virtual ones (network_namespaces(7)).
package netdev
