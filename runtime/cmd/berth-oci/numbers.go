package main

import (
	"strconv"
	"strings"
)

// numbers reads the kernel's lists, such as "0-3,7". What is not one ends it.
func numbers(list string) (out []uint16) {
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		from, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return out
		}
		to := from
		if isRange {
			if to, err = strconv.ParseUint(high, 10, 16); err != nil {
				return out
			}
		}
		for n := from; n <= to; n++ {
			out = append(out, uint16(n))
		}
	}
	return out
}
