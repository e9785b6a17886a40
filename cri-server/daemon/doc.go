// Package daemon puts berthd together: it makes every part, hands each the others that it needs, starts them in order and
// stops them in the reverse one. Nothing else happens here.
//
// It owns the locks of the state folder, the CRI socket and the readiness message to the service manager.
package daemon
