package plan

import (
	"slices"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// named returns the place of a name in a list, for bits and numbers that follow the kernel's order.
func named[S ~string](field string, i int, name S, list []S) (int, error) {
	at := slices.Index(list, name)
	if at < 0 {
		return 0, errdefs.Invalid("%s[%d]: %q is unknown", field, i, name)
	}
	return at, nil
}

// maxList bounds the text of a list of numbers. The kernel's own longest, of every second CPU of 8192, has 20 KB.
const maxList = 32 << 10

// parseNumbers reads a list such as "0-3,7" of numbers below limit (cpuset(7), "List Format", without strides). An empty
// list is no numbers. The result is sorted, without duplicates.
func parseNumbers(field, text string, limit int) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxList {
		return nil, errdefs.Invalid("%s: a list of %d bytes, more than %d", field, len(text), maxList)
	}
	has := make([]bool, limit)
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, ok1 := parseNumber(from, limit)
		last, ok2 := parseNumber(to, limit)
		if !ok1 || !ok2 || first > last {
			return nil, errdefs.Invalid("%s: %q is neither a number below %d nor a range of them", field, part, limit)
		}
		for n := first; n <= last; n++ {
			has[n] = true
		}
	}
	var list []int
	for n, yes := range has {
		if yes {
			list = append(list, n)
		}
	}
	return list, nil
}

// parseNumber takes digits only: strconv would let a sign pass.
func parseNumber(text string, limit int) (int, bool) {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err == nil && int(n) < limit
}
