package rootfs

import (
	"math"
	"strconv"
)

// parseNumber reads a user or group number: decimal digits, no sign, at most 2^31-1.
func parseNumber(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > math.MaxInt32 {
		return 0, false
	}
	return uint32(n), true
}
