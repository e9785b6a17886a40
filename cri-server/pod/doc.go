// Package pod owns pods and containers: their records, their states, and the order in which things are made and unmade.
//
// Everything that CRI asks of them is a method of [Manager], in berth's own types. The manager carries values between the
// parts that do the work (images, network, namespaces, cgroups, runtime), which it knows through the small interfaces of
// deps.go, and does nothing to the kernel itself but what machine_*.go says.
//
// # Order
//
// Each pod and container is in one state of the tables in states.go; [Manager.mu] guards all states in memory and is never
// held while anything is read, written or waited for. Who moves an object into a state that ends in -ing thereby owns its
// effects, until he moves it on: nobody else starts, stops or removes it meanwhile. They wait for his call (call.go) and
// look again. Operations run to their end when the client that asked has gone: its retry joins the same call.
//
// What fails to be unmade stays in its state and is tried again, at growing intervals and at every request, until the
// kernel says that it is gone.
//
// # Records
//
// A pod is STATE/pods/ID/pod.json, a container STATE/containers/ID/container.json. Each is written before the first effect
// and after the last, and has one writer at a time. After a restart [Manager.Recover] makes records and reality agree.
package pod
