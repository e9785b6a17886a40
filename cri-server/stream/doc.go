// Package stream serves exec, attach and port-forward: the long-lived byte streams that CRI keeps out of gRPC. A client
// gets an address by an RPC and finds its stream there once, within a minute, over SPDY or WebSocket.
//
// It owns the HTTP server, bound to loopback, its connections and the addresses handed out. The protocols are those of
// k8s.io/cri-streaming; the two newest over WebSocket, which that does not serve, are here (remote_v5.go, tunnel.go).
// It knows nothing of containers but the three calls of [Runtime]. When a client is gone, or the server closes, the
// context of its call ends, and with that everything that the call holds.
//
// Locks: tokens.mu guards a map only.
package stream
