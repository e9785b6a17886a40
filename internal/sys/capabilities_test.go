package sys_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/sys"
)

func TestCapabilitiesAreThoseInProc(t *testing.T) {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	permitted, err := sys.PermittedCapabilities()
	if want := fmt.Sprintf("CapPrm:\t%016x\n", permitted); err != nil || !strings.Contains(string(status), want) {
		t.Errorf("%q, %v is not in\n%s", want, err, status)
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil || strings.TrimSpace(string(last)) != fmt.Sprint(sys.LastCapability()) {
		t.Errorf("%d, want %s, %v", sys.LastCapability(), last, err)
	}
}
