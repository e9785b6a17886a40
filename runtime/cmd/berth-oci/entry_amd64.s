#include "textflag.h"

// The program's entry where it is linked with -E _berth_oci_amd64_linux. For commands that fork it seals the program, as
// seal.go says, before the Go runtime starts, which would take longer than all of this; where that fails, seal tries again
// and says what is wrong. For those that wait for a process it blocks the signals that sys.CatchSignals catches: the Go runtime
// keeps the mask that it is started with, and takes a millisecond to catch all signals itself. The sealed program gets what
// makes the Go runtime cheap in a life of a few milliseconds: one thread for Go code, unless the environment says otherwise, and
// a timer slack of 3 ms, as the runtime's monitor would else wake up every 0.1 ms.

#define SYS_close         3
#define SYS_rt_sigprocmask 14
#define SYS_statfs        137
#define SYS_prctl         157
#define SYS_execveat      322
#define SYS_open_tree     428
#define SYS_mount_setattr 442

DATA exe<>+0(SB)/8, $"/proc/se"
DATA exe<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL exe<>(SB), RODATA, $16

DATA procs<>+0(SB)/8, $"GOMAXPRO"
DATA procs<>+8(SB)/8, $"CS=1\x00\x00\x00\x00"
GLOBL procs<>(SB), RODATA, $16

#define STATFS_FLAGS 80 // offset of struct statfs's f_flags
#define FRAME        128

#define PR_SET_TIMERSLACK 29
#define SLACK             3000000 // ns

// What sys.CatchSignals catches, one bit each from SIGHUP on.
#define FORWARDED 0xfffffffc3bba2a00

// The kernel passes argc, the arguments, a null pointer, and the environment on the stack.
TEXT _berth_oci_amd64_linux(SB), NOSPLIT|NOFRAME, $0
	MOVQ 0(SP), R13
	LEAQ 8(SP), R14           // argv
	LEAQ 8(R14)(R13*8), R15   // the environment
	MOVQ R14, SI

	// It takes any argument for the command, which does no harm.
argument:
	ADDQ $8, SI
	MOVQ (SI), DI
	TESTQ DI, DI
	JZ   start
	MOVL (DI), AX
	CMPL AX, $0x72617473      // "star"
	JEQ  forks
	CMPL AX, $0x61657263      // "crea"
	JEQ  forks
	CMPL AX, $0x006e7572      // "run\0"
	JEQ  waits
	CMPL AX, $0x63657865      // "exec"
	JNE  argument

waits:
	MOVQ $FORWARDED, AX
	PUSHQ AX
	MOVQ $SYS_rt_sigprocmask, AX
	MOVQ $0, DI               // SIG_BLOCK
	MOVQ SP, SI
	MOVQ $0, DX
	MOVQ $8, R10
	SYSCALL
	POPQ AX

forks:
	MOVQ SP, BX
	SUBQ $FRAME, SP
	MOVQ $SYS_statfs, AX
	LEAQ exe<>(SB), DI
	MOVQ SP, SI
	SYSCALL
	TESTQ AX, AX
	JNZ  restore
	TESTB $1, STATFS_FLAGS(SP) // ST_RDONLY: it is sealed
	JNZ  restore

	MOVQ $SYS_open_tree, AX
	MOVQ $-100, DI            // AT_FDCWD
	LEAQ exe<>(SB), SI
	MOVQ $0x80001, DX         // OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC
	SYSCALL
	TESTQ AX, AX
	JLT  restore
	MOVQ AX, R12

	MOVQ $3, 0(SP)            // MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID
	MOVQ $0, 8(SP)
	MOVQ $0x40000, 16(SP)     // MS_PRIVATE
	MOVQ $0, 24(SP)
	MOVQ $SYS_mount_setattr, AX
	MOVQ R12, DI
	LEAQ exe<>+14(SB), SI     // ""
	MOVQ $0x1000, DX          // AT_EMPTY_PATH
	MOVQ SP, R10
	MOVQ $32, R8
	SYSCALL
	TESTQ AX, AX
	JNZ  close

	MOVQ $SYS_prctl, AX
	MOVQ $PR_SET_TIMERSLACK, DI
	MOVQ $SLACK, SI
	SYSCALL

	MOVQ R15, SI              // the environment's pointers are copied to the stack, with one more
size:
	MOVQ (SI), AX
	ADDQ $8, SI
	TESTQ AX, AX
	JNZ  size
	SUBQ R15, SI
	ADDQ $23, SI
	ANDQ $~15, SI
	SUBQ SI, SP
	MOVQ SP, DI
	MOVQ R15, SI
copy:
	MOVQ (SI), AX
	TESTQ AX, AX
	JZ   copied
	MOVQ AX, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	JMP  copy
copied:
	LEAQ procs<>(SB), AX
	MOVQ AX, (DI)
	MOVQ $0, 8(DI)

	MOVQ $SYS_execveat, AX
	MOVQ R12, DI
	LEAQ exe<>+14(SB), SI
	MOVQ R14, DX
	MOVQ SP, R10
	MOVQ $0x1000, R8
	SYSCALL

close:
	MOVQ $SYS_close, AX
	MOVQ R12, DI
	SYSCALL

restore:
	MOVQ BX, SP

start:
	XORL DX, DX               // no function to call at exit
	JMP  _rt0_amd64_linux(SB)
