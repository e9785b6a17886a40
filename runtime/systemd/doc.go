// Package systemd asks the service manager for what only it may do on a host that it runs: make, change and end transient
// scope units, whose control groups containers live in (systemd.scope(5), org.freedesktop.systemd1(5)).
//
// It owns nothing and keeps no connection: each call dials, speaks and hangs up, so that a manager that was upgraded
// meanwhile (daemon-reexec) is no case of its own.
package systemd
