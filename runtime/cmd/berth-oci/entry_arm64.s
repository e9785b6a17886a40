#include "textflag.h"

// See entry_amd64.s.

#define SYS_statfs        43
#define SYS_rt_sigprocmask 135
#define SYS_close         57
#define SYS_prctl         167
#define SYS_execveat      281
#define SYS_open_tree     428
#define SYS_mount_setattr 442

DATA exe<>+0(SB)/8, $"/proc/se"
DATA exe<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL exe<>(SB), RODATA, $16

DATA procs<>+0(SB)/8, $"GOMAXPRO"
DATA procs<>+8(SB)/8, $"CS=1\x00\x00\x00\x00"
GLOBL procs<>(SB), RODATA, $16

#define STATFS_FLAGS 80
#define FRAME        128
#define FORWARDED    0xfffffffc3bba2a00

#define PR_SET_TIMERSLACK 29
#define SLACK             3000000

TEXT _berth_oci_arm64_linux(SB), NOSPLIT|NOFRAME, $0
	MOVD 0(RSP), R19
	ADD  $8, RSP, R20           // argv
	ADD  R19<<3, R20, R21
	ADD  $8, R21                // the environment
	MOVD R20, R9

argument:
	ADD   $8, R9
	MOVD  (R9), R10
	CBZ   R10, start
	MOVWU (R10), R11
	MOVD  $0x72617473, R12    // "star"
	CMPW  R12, R11
	BEQ   forks
	MOVD  $0x61657263, R12    // "crea"
	CMPW  R12, R11
	BEQ   forks
	MOVD  $0x006e7572, R12    // "run\0"
	CMPW  R12, R11
	BEQ   waits
	MOVD  $0x63657865, R12    // "exec"
	CMPW  R12, R11
	BNE   argument

waits:
	SUB  $16, RSP
	MOVD $FORWARDED, R9
	MOVD R9, 0(RSP)
	MOVD $SYS_rt_sigprocmask, R8
	MOVD $0, R0               // SIG_BLOCK
	MOVD RSP, R1
	MOVD $0, R2
	MOVD $8, R3
	SVC
	ADD  $16, RSP

forks:
	MOVD RSP, R23
	SUB  $FRAME, RSP
	MOVD $SYS_statfs, R8
	MOVD $exe<>(SB), R0
	MOVD RSP, R1
	SVC
	CBNZ R0, restore
	MOVD STATFS_FLAGS(RSP), R9
	TBNZ $0, R9, restore

	MOVD $SYS_open_tree, R8
	MOVD $-100, R0
	MOVD $exe<>(SB), R1
	MOVD $0x80001, R2
	SVC
	TBNZ $63, R0, restore
	MOVD R0, R22

	MOVD $3, R9
	MOVD R9, 0(RSP)
	MOVD ZR, 8(RSP)
	MOVD $0x40000, R9
	MOVD R9, 16(RSP)
	MOVD ZR, 24(RSP)
	MOVD $SYS_mount_setattr, R8
	MOVD R22, R0
	MOVD $exe<>+14(SB), R1
	MOVD $0x1000, R2
	MOVD RSP, R3
	MOVD $32, R4
	SVC
	CBNZ R0, close

	MOVD $SYS_prctl, R8
	MOVD $PR_SET_TIMERSLACK, R0
	MOVD $SLACK, R1
	SVC

	MOVD R21, R9
size:
	MOVD.P 8(R9), R10
	CBNZ R10, size
	SUB  R21, R9
	ADD  $23, R9
	AND  $~15, R9
	MOVD RSP, R10
	SUB  R9, R10
	MOVD R10, RSP
	MOVD R21, R9
copy:
	MOVD.P 8(R9), R11
	CBZ  R11, copied
	MOVD.P R11, 8(R10)
	B    copy
copied:
	MOVD $procs<>(SB), R11
	MOVD R11, 0(R10)
	MOVD ZR, 8(R10)

	MOVD $SYS_execveat, R8
	MOVD R22, R0
	MOVD $exe<>+14(SB), R1
	MOVD R20, R2
	MOVD RSP, R3
	MOVD $0x1000, R4
	SVC

close:
	MOVD $SYS_close, R8
	MOVD R22, R0
	SVC

restore:
	MOVD R23, RSP

start:
	MOVD ZR, R0
	JMP  _rt0_arm64_linux(SB)
