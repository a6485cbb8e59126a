// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test: makes blocks volatile for tests/bench-host, which discards them, takes the
 * time, and restarts us for the next round.  Rounds of all kinds follow each other, so
 * that whatever else the machine does hits all of them.  With BENCH_SCALE the blocks are half
 * of the memory, or none: then only the search for them is left.
 */

#include "bare.h"

#define FIRST	0x1000000UL		/* far from the program */

static void essa_quick(int volatile_again, u64 at)
{
	u64 old;

	if (volatile_again)
		asm volatile(".insn rrf,0xb9ab0000,%0,%1,3,0" : "=d" (old) : "d" (at) : "memory");
	else
		asm volatile(".insn rrf,0xb9ab0000,%0,%1,1,0" : "=d" (old) : "d" (at) : "memory");
}

static void round_of(const char *name, u64 blocks, u64 stride)
{
	for (u64 i = 0, at = FIRST; i < blocks; i++, at += stride * PAGE) {
		essa_quick(0, at);
		*(volatile u64 *)at = i;
		essa_quick(1, at);
	}
	lowcore()->restarted = 0;
	say("@@round %s %lu\n", name, blocks);
	while (!*(volatile u64 *)&lowcore()->restarted)
		;
}

void bench(void)
{
	u64 blocks = mode & BENCH_QUICK ? 4096 : 16384;
	int rounds = mode & BENCH_QUICK ? 7 : 15;

	if (mode & BENCH_SCALE) {
		blocks = (ram_size() - FIRST) / PAGE / 2;
		for (int i = 0; i < 3; i++) {
			round_of("contiguous", blocks, 1);
			round_of("every-other", blocks, 2);
			round_of("none", 0, 1);
		}
		say("@@end\n");
		return;
	}
	for (int i = 0; i < rounds; i++) {
		round_of("contiguous", blocks, 1);
		round_of("contiguous", 4 * blocks, 1);
		round_of("every-other", blocks, 2);
		round_of("every-other", 4 * blocks, 2);
	}
	say("@@end\n");
}
