package netns_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

func TestCreateRefusesBadConfigsBeforeAnyEffect(t *testing.T) {
	all := func(c netns.Config) netns.Config { c.Net, c.IPC, c.UTS = true, true, true; return c }
	sysctl := func(key, value string) netns.Config {
		return all(netns.Config{Sysctls: map[string]string{key: value}})
	}
	for name, c := range map[string]netns.Config{
		"nothing asked for":           {},
		"long host name":              all(netns.Config{Hostname: strings.Repeat("h", 65)}),
		"host name with NUL":          all(netns.Config{Hostname: "a\x00b"}),
		"host name of the host":       {Net: true, Hostname: "x"},
		"sysctl of the node":          sysctl("vm.overcommit_memory", "1"),
		"sysctl kernel.hostname":      sysctl("kernel.hostname", "x"),
		"sysctl of the host's net":    {IPC: true, Sysctls: map[string]string{"net.core.somaxconn": "1"}},
		"sysctl of the host's ipc":    {Net: true, Sysctls: map[string]string{"kernel.shmmax": "1"}},
		"sysctl with plus":            sysctl("net.ipv4.ip_forward=1+kernel.core_pattern", "|/x"),
		"sysctl with dots":            sysctl("net..ipv4.ip_forward", "1"),
		"sysctl going up":             sysctl("net.ipv4.../../kernel/core_pattern", "1"),
		"sysctl with slashes":         sysctl("net/ipv4/ip_forward", "1"),
		"sysctl with a trailing dot":  sysctl("net.ipv4.ip_forward.", "1"),
		"sysctl with two lines":       sysctl("net.ipv4.ip_forward", "1\n1"),
		"sysctl with an endless key":  sysctl("net."+strings.Repeat("x", 300), "1"),
		"sysctl with endless content": sysctl("net.core.somaxconn", strings.Repeat("1", 5000)),
	} {
		t.Run(name, func(t *testing.T) {
			c.Dir = filepath.Join(t.TempDir(), "ns")
			if _, err := netns.Create(t.Context(), c); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(c.Dir); err == nil {
				t.Error("folder was made")
			}
		})
	}
	if _, err := netns.Create(t.Context(), netns.Config{Dir: "relative", Net: true}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("relative folder: got %v", err)
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"/no/such/file":     errdefs.ErrNotFound,
		file:                errdefs.ErrInvalid,
		"/proc/self/ns/uts": errdefs.ErrInvalid,
	} {
		if _, err := netns.Open(path); !errors.Is(err, want) {
			t.Errorf("Open(%s): got %v, want %v", path, err, want)
		}
	}
}

func BenchmarkCreateRemove(b *testing.B) {
	testutil.RequireRoot(b)
	for _, kind := range []string{"net", "all"} {
		b.Run(kind, func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "ns")
			c := netns.Config{Dir: dir, Net: true, IPC: kind == "all", UTS: kind == "all"}
			var remove int64
			for b.Loop() {
				if _, err := netns.Create(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				t := b.Elapsed()
				if err := netns.Remove(b.Context(), dir); err != nil {
					b.Fatal(err)
				}
				remove += (b.Elapsed() - t).Microseconds()
			}
			b.ReportMetric(float64(remove)/float64(b.N), "us-remove/op")
		})
	}
}
