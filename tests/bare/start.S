/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Entry, and the way into and out of an instruction under test.  The offsets in
 * the prefix area are those of struct lowcore in bare.h.
 */

#define RUN_PSW		0x300
#define RESTART_OLD	0x120
#define OUTCOME		0x310
#define RESTARTED	0x318
#define STACK		0x320
#define SAVED_GRS	0x400
#define IN_GRS		0x480
#define OUT_GRS		0x500

	/* QEMU copies the command line to 0x10480 when the entry is 0x10000. */
	.section .head, "ax"
	.globl start
start:	larl	%r2, bss_start		/* a second boot finds what the first one left */
	larl	%r3, bss_end
	sgr	%r3, %r2
	lghi	%r5, 0
0:	mvcle	%r2, %r4, 0
	jo	0b
	larl	%r15, boot_stack_end
	aghi	%r15, -160
	brasl	%r14, main
	.org	0x100			/* Hercules starts here, as an ESA/390 machine */
	slr	%r0, %r0
	lhi	%r1, 1
	sigp	%r1, %r0, 0x12		/* set architecture: z */
	sam64
	j	start
	.org	0x480
	.globl command_line
command_line:
	.org	0x800

	.text
	/* Other CPUs come here by SIGP restart. */
	.globl cpu_start
cpu_start:
	lg	%r15, STACK
	brasl	%r14, cpu_loop

	/*
	 * Loads all registers and the PSW; comes back to the caller through
	 * run_svc or run_pgm with the registers as the instruction left them in
	 * OUT_GRS.
	 */
	.globl run_psw
run_psw:
	stmg	%r0, %r15, SAVED_GRS
	mvghi	OUTCOME, 1
	lmg	%r0, %r15, IN_GRS
	lpswe	RUN_PSW

	.globl run_svc
run_svc:
	stmg	%r0, %r15, OUT_GRS
	mvghi	OUTCOME, 2
	lmg	%r0, %r15, SAVED_GRS
	br	%r14

	.globl run_pgm
run_pgm:
	stmg	%r0, %r15, OUT_GRS
	clghsi	OUTCOME, 1		/* nothing under test: our own fault */
	jne	0f
	mvghi	OUTCOME, 3
	lmg	%r0, %r15, SAVED_GRS
	br	%r14
0:	brasl	%r14, unexpected

	/* The runner says "done" by restarting a CPU that waits for it. */
	.globl run_restart
run_restart:
	mvghi	RESTARTED, 1
	lpswe	RESTART_OLD

	/* diag308_reset(subcode): the CPU goes on with the PSW at 0. */
	.globl diag308_reset
diag308_reset:
	stmg	%r0, %r15, SAVED_GRS
	larl	%r1, 0f
	larl	%r3, reset_psw
	og	%r1, 0(%r3)
	stg	%r1, 0
	diag	%r0, %r2, 0x308
0:	lmg	%r0, %r15, SAVED_GRS
	br	%r14
	.balign	8
reset_psw:
	.quad	0x0008000180000000	/* short form, 64-bit mode */

	.section .note.GNU-stack, "", @progbits
