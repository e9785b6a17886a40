#include "textflag.h"

// The entry of plugins that are linked with -E _berth_plugin_amd64_linux. It gives the Go runtime what makes it cheap in a life of a few
// milliseconds: one thread for Go code from the start, unless the environment says otherwise, and a timer slack of 0.5 ms, as the runtime's
// monitor would else wake up every 0.1 ms. A delegated plugin inherits this.

#define SYS_prctl         157
#define PR_SET_TIMERSLACK 29
#define SLACK             500000 // ns

DATA procs<>+0(SB)/8, $"GOMAXPRO"
DATA procs<>+8(SB)/8, $"CS=1\x00\x00\x00\x00"
GLOBL procs<>(SB), RODATA, $16

// The kernel passes argc, the arguments, a null pointer, the environment, a null pointer, and more, on the stack. All up to the end of the
// environment moves down, to make room there for a pointer, which stands there twice to keep the stack aligned. Of variables of one name the
// first counts.
TEXT _berth_plugin_amd64_linux(SB), NOSPLIT|NOFRAME, $0
	MOVQ SP, SI
	SUBQ $16, SP
	MOVQ SP, DI
	MOVQ (SI), CX
	ADDQ $2, CX
	CLD
	REP; MOVSQ
environment:
	MOVQ (SI), AX
	TESTQ AX, AX
	JZ   end
	MOVQ AX, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	JMP  environment
end:
	LEAQ procs<>(SB), AX
	MOVQ AX, (DI)
	MOVQ AX, 8(DI)

	MOVQ $SYS_prctl, AX
	MOVQ $PR_SET_TIMERSLACK, DI
	MOVQ $SLACK, SI
	SYSCALL

	XORL DX, DX // no function to call at exit
	JMP  _rt0_amd64_linux(SB)
