package seccomp_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// verify is what the kernel asks of a filter (bpf_check_classic and seccomp_check_filter, Linux 6.12): every load is of an
// aligned word of the data, every jump goes forward and stays inside, and the end is a return.
func verify(program []byte) error {
	n := len(program) / 8
	if len(program)%8 != 0 || n == 0 || n > 4096 {
		return fmt.Errorf("%d bytes", len(program))
	}
	for pc := range n {
		i := program[8*pc:]
		code, k := binary.NativeEndian.Uint16(i), binary.NativeEndian.Uint32(i[4:])
		ok := true
		switch code {
		case 0x20:
			ok = k%4 == 0 && k < 64
		case 0x05:
			ok = uint64(pc)+1+uint64(k) < uint64(n)
		case 0x15, 0x25, 0x35:
			ok = pc+1+int(i[2]) < n && pc+1+int(i[3]) < n
		case 0x54, 0x06:
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("instruction %d of %d: %x", pc, n, i[:8])
		}
	}
	if binary.NativeEndian.Uint16(program[8*(n-1):]) != 0x06 {
		return errors.New("the last instruction is no return")
	}
	return nil
}

// FuzzCompile makes programs of whatever parses as a profile: the kernel takes them, and they say what the profile means.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("testdata/profiles/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no profiles", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint64(1), uint64(2))
	}
	compilers := map[string]*seccomp.Compiler{"amd64": seccomp.NewCompilerFor("amd64"), "arm64": seccomp.NewCompilerFor("arm64")}
	f.Fuzz(func(t *testing.T, data []byte, seed, arg uint64) {
		var p specs.LinuxSeccomp
		if json.Unmarshal(data, &p) != nil {
			return
		}
		random := rand.New(rand.NewPCG(seed, arg))
		for machine, list := range archs {
			filter, err := compilers[machine].Compile(&p)
			if err != nil {
				if !errors.Is(err, errdefs.ErrInvalid) {
					t.Fatalf("error of another kind: %v", err)
				}
				continue
			}
			if err := verify(filter.Program); err != nil {
				t.Fatal(err)
			}
			native := list[0]
			for range 20 {
				c := &call{nr: uint32(random.IntN(500)), arch: audits[native], args: [6]uint64{arg, arg >> 1, seed, arg ^ seed, 0, random.Uint64()}}
				got, err := run(filter.Program, c)
				if err != nil {
					t.Fatal(err)
				}
				if want := meaning(&p, native, c); got != want && !tail(&p, c, native, newest(&p, native)) {
					t.Fatalf("%s call %d: %#x, not %#x", native, c.nr, got, want)
				}
			}
		}
	})
}
