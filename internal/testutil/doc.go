// Package testutil is what berth's tests share: a TestMain that runs a package's tests in namespaces of their own and
// fails when they leave anything behind, helpers that enter namespaces, and requirements whose skips are counted.
//
// It is imported by tests only. It never mocks the kernel, never touches anything of the machine outside of its own
// namespaces and its own cgroups (below [CgroupRoot]), and never hides a leak by cleaning it up silently: what it removes it
// reports first.
//
// A package that touches the kernel says, once:
//
//	func TestMain(m *testing.M) { testutil.Main(m) }
//
// The test binary then starts itself again in new mount, net, ipc and uts namespaces (when root), with loopback up, private
// mount propagation and a TMPDIR of its own. When the tests have run, the package fails if there are more file descriptors,
// goroutines, mounts, links, nft tables, cgroups, temporary files or living processes than before.
// Programs that start a runtime of their own use [Isolate].
package testutil
