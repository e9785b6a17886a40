// Package lsm knows which Linux security modules confine processes on this machine, and has AppArmor's part that a node
// needs: which profiles are loaded, and the profile that containers get by default. It labels files for SELinux.
package lsm
