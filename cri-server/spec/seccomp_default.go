package spec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// What RuntimeDefault allows to everybody, by subject. It is what programs need that live in namespaces and have few
// capabilities. Left out is what changes the machine (clocks, modules, swap, reboot), what reaches around namespaces (keys,
// handles of files, other processes' descriptors), what only kernel bugs were found with of late (io_uring, userfaultfd,
// bpf), and what is obsolete. Names that an architecture does not have are no rules there.
const (
	filesAllowed = `
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fadvise64_64 arm_fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown
lchown32 link linkat listmount _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat
openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat renameat2
rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range
arm_sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write
writev
fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lremovexattr lsetxattr
removexattr removexattrat setxattr setxattrat
fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit`

	waitingAllowed = `
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 _newselect pause pipe pipe2 poll ppoll
ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4
futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list set_robust_list membarrier rseq`

	memoryAllowed = `
brk cachestat madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal
msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages`

	processesAllowed = `
arch_prctl breakpoint cacheflush capget capset execve execveat exit exit_group fork getcpu getpgid getpgrp getpid getppid
getpriority getrandom getrlimit getrusage getsid get_thread_area gettid ioprio_get ioprio_set kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self modify_ldt pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv
process_vm_writev ptrace restart_syscall sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp setpgid setpriority setrlimit setsid set_thread_area set_tid_address
set_tls sysinfo tgkill times tkill ugetrlimit uname uretprobe vfork wait4 waitid waitpid
getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid getresuid32 getuid
getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid
setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn`

	timeAllowed = `
adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime
timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
timerfd_settime64`

	messagesAllowed = `
accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send sendmmsg
sendmsg sendto setsockopt shutdown socketpair
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget
msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget`
)

// allowedByCapability is what goes with a capability: without it the kernel would refuse most of it anyway, after having
// run code that nobody needs to reach.
func allowedByCapability() map[string]string {
	return map[string]string{
		"CAP_BPF":             "bpf",
		"CAP_DAC_READ_SEARCH": "open_by_handle_at",
		"CAP_PERFMON":         "perf_event_open",
		"CAP_SYSLOG":          "syslog",
		"CAP_SYS_ADMIN": `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lsm_get_self_attr lsm_list_modules
			lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname
			setns syslog umount umount2 unshare`,
		"CAP_SYS_BOOT":       "reboot",
		"CAP_SYS_CHROOT":     "chroot",
		"CAP_SYS_MODULE":     "delete_module finit_module init_module",
		"CAP_SYS_NICE":       "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
		"CAP_SYS_PACCT":      "acct",
		"CAP_SYS_PTRACE":     "kcmp pidfd_getfd process_madvise",
		"CAP_SYS_RAWIO":      "ioperm iopl",
		"CAP_SYS_TIME":       "clock_settime clock_settime64 settimeofday stime",
		"CAP_SYS_TTY_CONFIG": "vhangup",
	}
}

// newNamespaces are the flags of clone(2) that make namespaces; CLONE_NEWTIME is none of clone's.
const newNamespaces = 0x7e020000

// defaultSeccomp is the profile RuntimeDefault for a process that may get the given capabilities.
func defaultSeccomp(capabilities []string) *specs.LinuxSeccomp {
	names := strings.Fields(filesAllowed + waitingAllowed + memoryAllowed + processesAllowed + timeAllowed + messagesAllowed)
	for capability, more := range allowedByCapability() {
		if slices.Contains(capabilities, capability) {
			names = append(names, strings.Fields(more)...)
		}
	}
	slices.Sort(names) // one profile for one set of capabilities, whatever the map's order
	rules := []specs.LinuxSyscall{{Names: slices.Compact(names), Action: specs.ActAllow}}
	if !slices.Contains(capabilities, "CAP_SYS_ADMIN") {
		rules = append(
			rules,
			allowIf("clone", specs.LinuxSeccompArg{Index: 0, Value: newNamespaces, ValueTwo: 0, Op: specs.OpMaskedEqual}),
			// Its flags are in memory, where a filter can't see them: programs are told to use clone.
			specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: new(uint(enosys))},
		)
	}
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, DefaultErrnoRet: new(uint(eperm)),
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchAARCH64, specs.ArchARM},
		Flags:         []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagSpecAllow},
		Syscalls:      append(append(rules, sockets()...), personalities()...),
	}
}

const (
	eperm  = 1
	enosys = 38
)

func allowIf(name string, arg specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{arg}}
}

// sockets allows families of addresses (linux/socket.h). Left out are AF_VSOCK, which knows no network namespaces and so
// reaches the host, AF_ALG, the kernel's cryptography, which has other ways in, and those that Linux has no more.
func sockets() []specs.LinuxSyscall {
	const afDecnet = 12 // the first of the latter; below are the usual ones, and amateur radio
	rules := []specs.LinuxSyscall{allowIf("socket", specs.LinuxSeccompArg{Index: 0, Value: afDecnet, Op: specs.OpLessThan})}
	for _, family := range []uint64{15, 16, 17, 21, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45} {
		rules = append(rules, allowIf("socket", specs.LinuxSeccompArg{Index: 0, Value: family, Op: specs.OpEqualTo}))
	}
	return rules
}

// personalities allows the execution domains of today's programs: PER_LINUX, PER_LINUX32, both with UNAME26, and the
// question which one is in force (linux/personality.h). Others switch off protections such as address randomization.
func personalities() []specs.LinuxSyscall {
	var rules []specs.LinuxSyscall
	for _, p := range []uint64{0, 0x8, 0x20000, 0x20008, 0xffffffff} {
		rules = append(rules, allowIf("personality", specs.LinuxSeccompArg{Index: 0, Value: p, Op: specs.OpEqualTo}))
	}
	return rules
}
