package netns

import (
	"path"
	"strings"
	"testing"
)

// FuzzPlanSysctls looks for keys that pass and still name something else than one file below /proc/sys.
func FuzzPlanSysctls(f *testing.F) {
	for _, key := range []string{"net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "net/ipv4/x", "net.ipv4.../x", "net.a+b", "kernel.domainname"} {
		f.Add(key, "1")
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		plan, err := planSysctls(Config{Net: true, IPC: true, UTS: true, Sysctls: map[string]string{key: value}})
		if err != nil {
			return
		}
		p := plan[0].path
		if path.Clean(p) != p || path.IsAbs(p) || strings.HasPrefix(p, ".") || strings.Count(p, "/") != strings.Count(key, ".") {
			t.Fatalf("%q became %q", key, p)
		}
		if strings.ContainsAny(plan[0].value, "\n\x00") {
			t.Fatalf("value %q", value)
		}
	})
}
