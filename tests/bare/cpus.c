// SPDX-License-Identifier: GPL-2.0
/* What one CPU does to a block holds for the other one at once. */

#include "bare.h"

#define ROUNDS	300
#define LOOPS	40

/* What the second CPU is to do. */
static u64 mask, address;
static const u8 *code;
static volatile bool stop;

static volatile u64 progress;
static struct outcome result;

/*
 * Even phases are transitions.  In phase 4i+1 the block is stable and holds i,
 * in phase 4i+3 it is discarded; whoever saw the same odd phase before and after
 * an access knows what must have come of it.
 */
static volatile u64 phase;
static volatile u64 wrong, wrong_phase;

static void judge(u64 before, const struct outcome *o)
{
	u64 block = (u64)pages[BAD];
	bool ok;

	if (before % 4 == 3)
		ok = o->code == DISCARDED && o->teid == block && o->psw_addr == (u64)code;
	else
		ok = o->code == NONE && (code != load || o->out.gr[1] == before / 4);
	if (!ok) {
		wrong++;
		wrong_phase = before;
		result = *o;
	}
}

static void touch_and_judge(void)
{
	while (!stop) {
		u64 before = phase;
		struct outcome o;

		barrier();
		o = touch(mask, code, address);
		barrier();
		if (before % 2 && phase == before)
			judge(before, &o);
		progress++;
	}
}

/* Two more: one whole access lies in this phase. */
static void wait_for_progress(void)
{
	u64 enough = progress + 2;

	barrier();
	while (progress < enough)
		barrier();
}

static void hammer(u64 m, const u8 *c)
{
	u64 block = (u64)pages[BAD];

	mask = m;
	code = c;
	address = address_of(m, BAD);
	stop = 0;
	wrong = 0;
	phase = 0;
	cpu1_run(touch_and_judge);
	for (u64 i = 0; i < ROUNDS && !wrong; i++) {
		essa(SET_STABLE, block);
		*(volatile u64 *)block = i;
		barrier();
		phase = 4 * i + 1;
		wait_for_progress();
		phase = 4 * i + 2;
		barrier();
		essa(SET_VOLATILE, block);
		barrier();
		phase = 4 * i + 3;
		wait_for_progress();
		phase = 4 * i + 4;
		barrier();
	}
	stop = 1;
	cpu1_wait();
	essa(SET_STABLE, block);
	if (wrong) {
		equal("phase (1 stable, 3 discarded)", wrong_phase % 4, 0);
		equal("interruption", result.code, -1UL);
		equal("address", result.teid, -1UL);
		equal("register 1", result.out.gr[1], wrong_phase / 4);
	}
}

static void real_load_on_the_other_cpu(void)
{
	hammer(REAL, load);
}

static void translated_load_on_the_other_cpu(void)
{
	hammer(DAT, load);
}

static void real_store_on_the_other_cpu(void)
{
	hammer(REAL, store);
}

static void translated_store_on_the_other_cpu(void)
{
	hammer(DAT, store);
}

static void translated_mvc_on_the_other_cpu(void)
{
	hammer(DAT, mvc_target);
}

static void translated_compare_and_swap_on_the_other_cpu(void)
{
	hammer(DAT, compare_and_swap);
}

/* Loops without an end: only the discard gets the other CPU out. */
INSN(load_loop, "lg %r1,0(%r2)\n\tj load_loop");
INSN(store_loop, "stg %r3,0(%r2)\n\tj store_loop");
INSN(mvc_loop, "mvc 0(8,%r4),0(%r2)\n\tj mvc_loop");
static const u8 branch_to_itself[] = { 0xa7, 0xf4, 0, 0 };

static void run_loop(void)
{
	progress++;
	result = touch(mask, code, address);
}

/* The caller makes the block go. */
static void start_loop(u64 m, const u8 *c)
{
	u64 block = (u64)pages[BAD], before = progress;

	mask = m;
	code = c ?: (const u8 *)address_of(m, BAD);
	address = address_of(m, BAD);
	essa(SET_STABLE, block);
	fill(pages[BAD], 0, PAGE);
	copy(pages[BAD], branch_to_itself, sizeof(branch_to_itself));
	barrier();
	cpu1_run(run_loop);
	while (progress == before)
		barrier();
}

static void end_of_loop(void)
{
	cpu1_wait();
	discard_fault(&result, (u64)code, (u64)pages[BAD]);
	essa(SET_STABLE, (u64)pages[BAD]);
}

static void endless_loops_on_the_other_cpu_end(void)
{
	static const u8 *const codes[] = { load_loop, store_loop, mvc_loop, 0 };
	static const u64 masks[] = { REAL, DAT };

	for (u64 i = 0; i < ARRAY_SIZE(codes); i++) {
		for (u64 j = 0; j < ARRAY_SIZE(masks); j++) {
			for (int k = 0; k < LOOPS && !failed(); k++) {
				start_loop(masks[j], codes[i]);
				for (int pause = k % 10 * 100; pause; pause--)
					barrier();
				essa(SET_VOLATILE, (u64)pages[BAD]);
				end_of_loop();
			}
		}
	}
}

/* The host does it while both CPUs run. */
static void a_discard_by_the_host_ends_endless_loops_too(void)
{
	static const u8 *const codes[] = { load_loop, store_loop, 0 };

	for (u64 i = 0; i < ARRAY_SIZE(codes); i++) {
		start_loop(DAT, codes[i]);
		essa(SET_VOLATILE, (u64)pages[BAD]);
		say("@@discard volatile\n");
		end_of_loop();
	}
}

/* A block that is never given away, next to one that is all the time. */
static void use_the_next_block(void)
{
	volatile u64 *at = (u64 *)pages[BAD + 1];
	u64 count = 0;

	while (!stop) {
		for (u64 i = 0; i < PAGE / 8; i++) {
			wrong += at[i] != count;
			at[i] = count + 1;
		}
		count++;
		progress++;
	}
}

static void a_block_that_stays_does_not_suffer(void)
{
	fill(pages[BAD + 1], 0, PAGE);
	stop = 0;
	wrong = 0;
	cpu1_run(use_the_next_block);
	for (int i = 0; i < ROUNDS; i++) {
		make_discarded((u64)pages[BAD]);
		essa(SET_STABLE, (u64)pages[BAD]);
		equal("zeros", pages[BAD][i], 0);
		pages[BAD][i] = 1;
	}
	stop = 1;
	cpu1_wait();
	equal("wrong words", wrong, 0);
}

/* Both at once, on the same few blocks, without any order. */
static void change_and_touch(u64 random)
{
	for (int i = 0; i < 50 * ROUNDS; i++) {
		static const u8 operations[] = { GET, SET_STABLE, SET_VOLATILE,
						 SET_STABLE_IF_RESIDENT };
		static const u64 masks[] = { REAL, DAT };
		u64 r = random = random * 6364136223846793005 + 1442695040888963407, m;
		int block = BAD + (r >> 60) % 4;
		struct outcome o;

		r >>= 32;
		m = masks[r & 1];
		if (r & 2) {
			essa(operations[r >> 2 & 3], (u64)pages[block]);
			continue;
		}
		o = touch(m, r & 4 ? load : store, address_of(m, block));
		if (o.code != NONE &&
		    (o.code != DISCARDED || o.teid != (u64)pages[block]))
			wrong++;
	}
}

static void change_and_touch_on_cpu1(void)
{
	change_and_touch(2);
}

static void both_cpus_change_and_touch(void)
{
	wrong = 0;
	cpu1_run(change_and_touch_on_cpu1);
	change_and_touch(1);
	cpu1_wait();
	equal("wrong outcomes", wrong, 0);
	for (int i = BAD; i < BAD + 4; i++) {
		essa(SET_STABLE, (u64)pages[i]);
		equal("usable in the end", touch(DAT, load, dat_address(i)).code, NONE);
	}
}

void test_cpus(void)
{
	if (!(mode & (PLAIN | ALWAYS)))
		return;
	TEST(~0, cpu1_init);
	TEST(ALWAYS, real_load_on_the_other_cpu);
	TEST(ALWAYS, translated_load_on_the_other_cpu);
	TEST(ALWAYS, real_store_on_the_other_cpu);
	TEST(ALWAYS, translated_store_on_the_other_cpu);
	TEST(ALWAYS, translated_mvc_on_the_other_cpu);
	TEST(ALWAYS, translated_compare_and_swap_on_the_other_cpu);
	TEST(ALWAYS, endless_loops_on_the_other_cpu_end);
	TEST(PLAIN, a_discard_by_the_host_ends_endless_loops_too);
	TEST(ALWAYS, a_block_that_stays_does_not_suffer);
	TEST(PLAIN | ALWAYS, both_cpus_change_and_touch);
	cpu1_stop();
}
