// Package client is the other end of package stream: it runs one exec or attach at the address that an RPC handed out,
// over SPDY with the fourth version of the remote command protocol, which tells exit codes.
//
// It owns the connection for the time of one [Run] and nothing else.
package client
