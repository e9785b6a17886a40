// Package client is the way to talk to the keeper.
//
// A [Client] is one connection. It may be used by many goroutines at once; requests overlap. When the keeper dies every
// call returns an error of kind errdefs.ErrUnavailable and Events is closed: dial again, hand over what the successor
// can't have ([Client.Adopt]), and go on.
//
// The package owns the connection only. Files that are passed to it stay the caller's.
// Lock: Client.mu guards the table of requests; nothing blocks under it.
package client
