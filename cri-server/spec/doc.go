// Package spec turns what a CRI client asks for into an OCI runtime spec. It is pure: no system call, no clock, no
// file. Whatever depends on the machine or on the image comes in as a value of [Input].
//
// The request types here are also what the rest of the server carries a request in: rpc converts CRI's messages to them,
// pod stores them in its records. No CRI type goes below rpc. What berth can't do yet is refused with
// errdefs.ErrNotSupported by [CheckPod] and [CheckContainer], before anything is made; nothing asked for is ignored.
package spec
