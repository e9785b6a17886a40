package main

// x32Bit is __X32_SYSCALL_BIT of arch/x86/include/uapi/asm/unistd.h.
const x32Bit = 0x40000000

// only64 are the calls of x86-64 that x32 does not have under the same number: ABI "64" in
// arch/x86/entry/syscalls/syscall_64.tbl.
var only64 = []string{
	"rt_sigaction", "rt_sigreturn", "ioctl", "readv", "writev", "recvfrom", "sendmsg", "recvmsg", "setsockopt", "getsockopt",
	"execve", "ptrace", "rt_sigpending", "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack", "uselib", "_sysctl",
	"create_module", "get_kernel_syms", "query_module", "nfsservctl", "set_thread_area", "io_setup", "io_submit",
	"get_thread_area", "epoll_ctl_old", "epoll_wait_old", "timer_create", "vserver", "mq_notify", "kexec_load", "waitid",
	"set_robust_list", "get_robust_list", "vmsplice", "move_pages", "preadv", "pwritev", "rt_tgsigqueueinfo", "recvmmsg",
	"sendmmsg", "process_vm_readv", "process_vm_writev", "execveat", "preadv2", "pwritev2", "map_shadow_stack",
}

// onlyX32 are the calls from 512 on, of ABI "x32" in the same file.
var onlyX32 = []string{
	"rt_sigaction", "rt_sigreturn", "ioctl", "readv", "writev", "recvfrom", "sendmsg", "recvmsg", "execve", "ptrace",
	"rt_sigpending", "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack", "timer_create", "mq_notify", "kexec_load", "waitid",
	"set_robust_list", "get_robust_list", "vmsplice", "move_pages", "preadv", "pwritev", "rt_tgsigqueueinfo", "recvmmsg",
	"sendmmsg", "process_vm_readv", "process_vm_writev", "setsockopt", "getsockopt", "io_setup", "io_submit", "execveat",
	"preadv2", "pwritev2",
}

// armPrivate are __ARM_NR_* of arch/arm/include/uapi/asm/unistd.h, which x/sys leaves out.
var armPrivate = map[string]int{
	"breakpoint": 0x0f0001, "cacheflush": 0x0f0002, "usr26": 0x0f0003, "usr32": 0x0f0004, "set_tls": 0x0f0005, "get_tls": 0x0f0006,
}

// noCalls are other numbers in the headers: a mask of arm's, the first of a range of generic ones.
var noCalls = []string{"syscall_mask", "arch_specific_syscall"}
