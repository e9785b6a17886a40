// Package e2e tests berth from the outside: a registry on loopback, berthd as a program, CRI on its socket, traffic over the
// pods' networks. Every test has a node of its own, and wants nothing to be left when its pods are removed.
package e2e
