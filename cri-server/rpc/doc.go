// Package rpc is the CRI server: it decodes and validates requests, calls the part that owns the datum, and encodes the
// answer. It owns nothing itself and holds no lock; CRI's and gRPC's types end here.
//
// A file per RPC, named noun_verb.go; what they share:
//
//	server.go      the gRPC server, its limits, ready or not
//	intercept.go   logging, panics, the gate that holds requests until recovery has ended
//	errors.go      the one place where error kinds become gRPC codes
//	decode.go      bounds on what a client may send; decode_*.go turn requests into values of package spec
//	encode_*.go    turn values of package pod and imagestore into answers
package rpc
