package link

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestHostNames(t *testing.T) {
	seen := map[string]bool{}
	for i := range 2000 {
		name := HostName("net", fmt.Sprint("c", i), "eth0")
		if seen[name] || len(name) != 15 || !strings.HasPrefix(name, networkPrefix("net")) || strings.HasPrefix(name, networkPrefix("net2")) {
			t.Fatalf("name %s", name)
		}
		seen[name] = true
	}
	if HostName("net", "c", "eth0") == HostName("net", "c", "eth1") {
		t.Error("two interfaces have one name")
	}
}

func TestLimits(t *testing.T) {
	for _, ok := range []Limit{{}, {Rate: 8, Burst: 8}, {Rate: 1e12, Burst: 8 * (1<<32 - 1)}} {
		if err := ok.Validate("egress"); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []Limit{{Rate: 8}, {Burst: 8}, {Rate: 7, Burst: 8}, {Rate: 8, Burst: 8 << 32}, {Rate: 1e11, Burst: 8}, {Rate: math.MaxUint64, Burst: 800}} {
		if err := bad.Validate("egress"); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "egressBurst") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
