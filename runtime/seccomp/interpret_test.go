package seccomp_test

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// call is struct seccomp_data.
type call struct {
	nr, arch uint32
	args     [6]uint64
}

func (c *call) load(off uint32) (uint32, error) {
	switch {
	case off%4 != 0 || off >= 64:
		return 0, fmt.Errorf("load at %d", off)
	case off == 0:
		return c.nr, nil
	case off == 4:
		return c.arch, nil
	case off < 16:
		return 0, nil // the instruction pointer
	}
	return uint32(c.args[(off-16)/8] >> (8 * (off % 8))), nil
}

// run interprets a filter as the kernel does (Documentation/networking/filter.rst), and refuses what it would refuse.
func run(program []byte, c *call) (uint32, error) {
	var a, x uint32
	n := len(program) / 8
	for pc := 0; pc < n; pc++ {
		i := program[8*pc:]
		code, jt, jf, k := binary.NativeEndian.Uint16(i), int(i[2]), int(i[3]), binary.NativeEndian.Uint32(i[4:])
		var err error
		jump := func(holds bool) {
			if holds {
				pc += jt
			} else {
				pc += jf
			}
		}
		switch code {
		case 0x20:
			a, err = c.load(k)
		case 0x54:
			a &= k
		case 0x05:
			pc += int(k)
		case 0x15:
			jump(a == k)
		case 0x25:
			jump(a > k)
		case 0x35:
			jump(a >= k)
		case 0x45:
			jump(a&k != 0)
		case 0x06:
			return k, nil
		case 0x07:
			x = a
		case 0x87:
			a = x
		default:
			err = fmt.Errorf("instruction %d: code %#x", pc, code)
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("the program runs out of its end")
}
