package netdev

import (
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Device is a device to move.
type Device struct {
	Name string // on the host
	As   string // in the container: a name, or a pattern with one "%d" that the kernel puts the first free number into
}

const maxName = 15 // IFNAMSIZ of linux/if.h, without the NUL

// CheckName refuses what the kernel would not take as the name of a device (dev_valid_name).
func CheckName(name string) error {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == ':' || r == '%' }
	switch {
	case name == "" || len(name) > maxName:
		return errdefs.Invalid("%q is not the name of a network device: it has %d bytes, not 1 to %d", name, len(name), maxName)
	case name == "." || name == ".." || strings.ContainsFunc(name, bad):
		return errdefs.Invalid("%q is not the name of a network device", name)
	}
	return nil
}

// CheckPattern refuses what is neither a name nor a pattern.
func CheckPattern(name string) error {
	if len(name) > maxName {
		return CheckName(name)
	}
	return CheckName(strings.Replace(name, "%d", "0", 1))
}

// Pattern tells whether the kernel chooses the device's name.
func (d Device) Pattern() bool { return strings.Contains(d.As, "%d") }
