#include "textflag.h"

// See entry_amd64.s.

#define SYS_prctl         167
#define PR_SET_TIMERSLACK 29
#define SLACK             500000

DATA procs<>+0(SB)/8, $"GOMAXPRO"
DATA procs<>+8(SB)/8, $"CS=1\x00\x00\x00\x00"
GLOBL procs<>(SB), RODATA, $16

TEXT _berth_plugin_arm64_linux(SB), NOSPLIT|NOFRAME, $0
	MOVD RSP, R9
	SUB  $16, RSP
	MOVD RSP, R10
	MOVD (R9), R11
	ADD  $2, R11
arguments:
	MOVD.P 8(R9), R12
	MOVD.P R12, 8(R10)
	SUB  $1, R11
	CBNZ R11, arguments
environment:
	MOVD (R9), R12
	CBZ  R12, end
	ADD  $8, R9
	MOVD.P R12, 8(R10)
	B    environment
end:
	MOVD $procs<>(SB), R12
	MOVD R12, 0(R10)
	MOVD R12, 8(R10)

	MOVD $SYS_prctl, R8
	MOVD $PR_SET_TIMERSLACK, R0
	MOVD $SLACK, R1
	SVC

	MOVD ZR, R0
	JMP  _rt0_arm64_linux(SB)
