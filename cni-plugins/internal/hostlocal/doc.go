// Package hostlocal is the address management of the host-local plugin: its configuration and its commands.
//
// The host-local binary is one caller; interface plugins that find that very binary on their CNI_PATH are the other, and save
// an exec by calling it in-process. The allocations are owned by package alloc. No state, no locks here.
package hostlocal
