package seccomp

import (
	"strconv"
	"strings"
)

//go:generate go run ../../hack/syscalls

const (
	columns = 5
	absent  = -1
)

// table knows the names of calls.
type table struct {
	numbers map[string][columns]int64 // one for each ABI, or absent
	parts   map[string]part
}

func readTable() table {
	t := table{make(map[string][columns]int64, 512), multiplexed()}
	for line := range strings.Lines(numbers) {
		fields := strings.Fields(line)
		if len(fields) != 1+columns {
			continue // the first and the last
		}
		var row [columns]int64
		for i, f := range fields[1:] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				n = absent
			}
			row[i] = n
		}
		t.numbers[fields[0]] = row
	}
	return t
}

// knows tells whether there is a call of that name anywhere.
func (t table) knows(name string) bool {
	_, call := t.numbers[name]
	_, part := t.parts[name]
	return call || part
}

// number returns the number of a call on an ABI.
func (t table) number(name string, a *abi) (uint32, bool) {
	row, ok := t.numbers[name]
	if !ok || row[a.column] == absent {
		return 0, false
	}
	return uint32(row[a.column]), true
}
