package main

import (
	"math"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// parseBytes reads a number of bytes with an optional unit of 1024s: k, m, g, t, also with b or ib behind it.
func parseBytes(s string) (int64, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	text = strings.TrimSuffix(strings.TrimSuffix(text, "b"), "i")
	shift := 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("kmgt", text[n-1]); i >= 0 {
			shift, text = 10*(i+1), text[:n-1]
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < -1 || n == -1 && shift > 0 || n > math.MaxInt64>>shift {
		return 0, errdefs.Invalid("%q is not a number of bytes", s)
	}
	return n << shift, nil
}
