// Package node starts container runtimes for tests and benchmarks, each with root, state, socket, configuration and registry
// mirrors of its own: berthd from this repository, and Debian's containerd to compare with.
//
// A node expects to be in namespaces of its own already ([testutil.Main] or [testutil.Isolate]): it mounts a tmpfs for its
// state and leaves networks to the runtime. It owns the processes that it starts and its folder; it never touches others.
package node
