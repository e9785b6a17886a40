package spec_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// dockerDenies is what Docker's default profile (moby/profiles of 2026) refuses to everybody, of all calls that Linux 7.2 has
// on x86-64, x86, x32, arm64 and arm.
const dockerDenies = `_sysctl acct add_key afs_syscall bdflush bpf break chroot clock_settime clock_settime64 clone3
create_module delete_module fanotify_init file_getattr file_setattr finit_module fsconfig fsmount fsopen fspick ftime
get_kernel_syms get_mempolicy get_tls getpmsg gtty idle init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl
kcmp kexec_file_load kexec_load keyctl listns lock lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind
migrate_pages mount mount_setattr move_mount move_pages mpx nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname
open_by_handle_at open_tree open_tree_attr pciconfig_iobase pciconfig_read pciconfig_write perf_event_open pidfd_getfd pivot_root
process_madvise prof profil putpmsg query_module quotactl quotactl_fd readdir reboot request_key rseq_slice_yield security
set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday sgetmask sigaction signal sigpending sigsuspend
ssetmask stime stty swapoff swapon sysfs syslog tuxcall ulimit umount umount2 unshare uprobe uselib userfaultfd usr26 usr32
ustat vhangup vm86 vm86old vserver`

// dockerAllowsWith is what it allows of them to who has a capability.
var dockerAllowsWith = map[string]string{
	"CAP_BPF":             "bpf",
	"CAP_DAC_READ_SEARCH": "open_by_handle_at",
	"CAP_PERFMON":         "perf_event_open",
	"CAP_SYSLOG":          "syslog",
	"CAP_SYS_ADMIN": `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns
syslog umount umount2 unshare`,
	"CAP_SYS_BOOT":       "reboot",
	"CAP_SYS_CHROOT":     "chroot",
	"CAP_SYS_MODULE":     "delete_module finit_module init_module",
	"CAP_SYS_NICE":       "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
	"CAP_SYS_PACCT":      "acct",
	"CAP_SYS_PTRACE":     "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
	"CAP_SYS_RAWIO":      "ioperm iopl",
	"CAP_SYS_TIME":       "clock_settime clock_settime64 settimeofday stime",
	"CAP_SYS_TTY_CONFIG": "vhangup",
}

// confined returns the profile of a container that asks for RuntimeDefault, with capabilities added to none.
func confined(t *testing.T, capabilities ...string) *specs.LinuxSeccomp {
	t.Helper()
	in := plain()
	in.Container.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileRuntimeDefault}
	in.Container.Security.Capabilities = &spec.Capabilities{Drop: []string{"ALL"}, Add: capabilities}
	s, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	if s.Linux.Seccomp == nil {
		t.Fatal("no profile")
	}
	return s.Linux.Seccomp
}

func TestDefaultProfileIsAsStrictAsDockers(t *testing.T) {
	all := spec.CapabilitiesFromMask(1<<41 - 1)
	for _, capability := range append(all, "") {
		var with []string
		if capability != "" {
			with = []string{capability}
		}
		profile := confined(t, with...)
		if profile.DefaultAction != specs.ActErrno {
			t.Fatalf("default action %s", profile.DefaultAction)
		}
		allowed := strings.Fields(dockerAllowsWith[capability])
		for _, rule := range profile.Syscalls {
			if rule.Action == specs.ActErrno {
				continue
			}
			for _, name := range rule.Names {
				switch {
				case slices.Contains(strings.Fields(dockerDenies), name) && !slices.Contains(allowed, name):
					t.Errorf("%s is allowed with %q", name, capability)
				case slices.Contains([]string{"clone", "socket", "personality"}, name) && len(rule.Args) == 0 && !slices.Contains(allowed, name):
					t.Errorf("%s is allowed with any arguments, with %q", name, capability)
				}
			}
		}
	}
	var families []uint64
	for _, rule := range confined(t, all...).Syscalls {
		if slices.Equal(rule.Names, []string{"socket"}) {
			families = append(families, rule.Args[0].Value)
		}
	}
	for _, never := range []uint64{12, 38, 40} { // DECnet, whose number ends a range; AF_ALG, AF_VSOCK
		if slices.Contains(families[1:], never) {
			t.Errorf("address family %d is allowed", never)
		}
	}
}

func TestGoldenSeccompDefault(t *testing.T) {
	golden(t, "seccomp-default", confined(t))
}

func TestWhoIsConfined(t *testing.T) {
	file := &specs.LinuxSeccomp{DefaultAction: specs.ActLog}
	for name, tt := range map[string]struct {
		profile    *spec.SecurityProfile
		privileged bool
		want       func(*specs.LinuxSeccomp) bool
	}{
		"nobody who does not ask": {nil, false, func(p *specs.LinuxSeccomp) bool { return p == nil }},
		"unconfined":              {&spec.SecurityProfile{Type: spec.ProfileUnconfined}, false, func(p *specs.LinuxSeccomp) bool { return p == nil }},
		"default":                 {&spec.SecurityProfile{}, false, func(p *specs.LinuxSeccomp) bool { return p != nil && p != file }},
		"file":                    {&spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "/p"}, false, func(p *specs.LinuxSeccomp) bool { return p == file }},
		"privileged, default":     {&spec.SecurityProfile{}, true, func(p *specs.LinuxSeccomp) bool { return p == nil }},
		"privileged, file":        {&spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "/p"}, true, func(p *specs.LinuxSeccomp) bool { return p == nil }},
	} {
		in := plain()
		in.Container.Security.Seccomp, in.Container.Security.Privileged, in.Seccomp = tt.profile, tt.privileged, file
		s, err := spec.Build(in)
		if err != nil || !tt.want(s.Linux.Seccomp) {
			t.Errorf("%s: %v, %v", name, s.Linux.Seccomp, err)
		}
	}
	in := plain()
	in.Container.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "/p"}
	if _, err := spec.Build(in); !errors.Is(err, errdefs.ErrBug) {
		t.Errorf("a profile that was not read: %v", err)
	}
	for name, tt := range map[string]struct {
		profile *spec.SecurityProfile
		want    func(*specs.LinuxSeccomp) bool
	}{
		"file":       {&spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "/p"}, func(p *specs.LinuxSeccomp) bool { return p == file }},
		"default":    {&spec.SecurityProfile{}, func(p *specs.LinuxSeccomp) bool { return p != nil && p != file }},
		"unconfined": {&spec.SecurityProfile{Type: spec.ProfileUnconfined}, func(p *specs.LinuxSeccomp) bool { return p == nil }},
	} {
		pod := spec.PodConfig{Security: spec.PodSecurity{Seccomp: tt.profile}}
		s, err := spec.Pause("0", pod, spec.Paths{}, "/c", "/pause", file, plain().Host)
		if err != nil || !tt.want(s.Linux.Seccomp) {
			t.Errorf("the pod's own process, %s: %v, %v", name, s.Linux.Seccomp, err)
		}
	}
}

func TestParseSeccomp(t *testing.T) {
	for text, want := range map[string]string{
		`{"defaultAction": "SCMP_ACT_LOG"}`:                              "",
		`{"defaultAction": "SCMP_ACT_LOG", "includes": {"caps": ["x"]}}`: `unknown field "includes"`,
		`{"defaultAction": "SCMP_ACT_LOG"} {}`:                           "more than one value",
		`{"syscalls": [{"names": ["a"], "args": [{"index": -1}]}]}`:      "index",
		`null`:                              "null",
		``:                                  "EOF",
		strings.Repeat(" ", 1<<20) + `{}`:   "more than",
		`{"syscalls": [{"name": "mount"}]}`: `unknown field "name"`,
	} {
		_, err := spec.ParseSeccomp([]byte(text))
		if want == "" && err != nil || want != "" && (!errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseSeccomp(f *testing.F) {
	f.Add([]byte(`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := spec.ParseSeccomp(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := spec.ParseSeccomp(again)
		if diff := cmp.Diff(p, q, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s\n%v, %s", again, err, diff)
		}
	})
}
