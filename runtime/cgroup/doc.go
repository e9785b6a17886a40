// Package cgroup makes, limits, measures, kills and removes control groups on cgroup v1, hybrid and v2 hosts.
//
// It owns the groups that its callers name and nothing else: it never moves a process (a container's first process
// joins by itself, see [Group.JoinFiles] and [Group.Dir]), never changes a group it was not given, apart from
// making missing parents and switching on controllers in them, and keeps no state: a [Group] is a name, re-opened
// below the hierarchies' root fds at every use, so nothing has to be closed or restored after a restart.
//
// Limits are planned first (a pure function from OCI resources to a list of file writes, in the order that the kernel
// accepts) and then written. Waiting is done on events: cgroup.events, pidfds. There are no locks; two calls that
// change the same group at the same time must be kept apart by the caller.
package cgroup
