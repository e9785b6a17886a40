package sys

import "golang.org/x/sys/unix"

// LastCapability returns the number of the last capability that the kernel knows.
func LastCapability() int {
	last := unix.CAP_LAST_CAP // of the kernel's headers that x/sys was made from
	for knows(last + 1) {
		last++
	}
	for last > 0 && !knows(last) {
		last--
	}
	return last
}

// knows tells whether the kernel knows a capability, whether or not this process has it.
func knows(capability int) bool {
	_, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(capability), 0, 0, 0)
	return err == nil
}

// PermittedCapabilities returns the permitted set of this thread, one bit each.
func PermittedCapabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, err
	}
	return uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted), nil
}
