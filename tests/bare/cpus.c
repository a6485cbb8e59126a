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

/* The same real address is another block on a CPU with another prefix. */
static struct outcome one1, home1;

static void touch_both_on_cpu1(void)
{
	one1 = touch(REAL, load, PAGE);
	home1 = touch(REAL, load, address);
}

static void the_same_real_address_is_another_block_on_each_cpu(void)
{
	u64 block = cpu1_prefix() + PAGE;

	address = block;
	for (int i = 0; i < LOOPS; i++) {
		bool discarded = i % 2;
		struct outcome one0, home0;

		if (discarded)
			make_discarded(block);
		else
			essa(SET_STABLE, block);
		cpu1_run(touch_both_on_cpu1);
		one0 = touch(REAL, load, PAGE);
		home0 = touch(REAL, load, block);
		cpu1_wait();
		equal("CPU 0, real 1", one0.code, NONE);
		equal("CPU 1, the area of its prefix", home1.code, NONE);
		if (discarded) {
			discard_fault(&home0, (u64)load, block);
			discard_fault(&one1, (u64)load, block);
		} else {
			equal("CPU 0, the area", home0.code, NONE);
			equal("CPU 1, real 1", one1.code, NONE);
		}
	}
	essa(SET_STABLE, block);
}

/*
 * What the other CPU stores must be in the block before it goes, or not at all: a store
 * that lands in the new, zero frame is a discard in the middle of an instruction.
 */
INSN(move_page_into, "mvpg %r2,%r4");
INSN(move_long_into, "mvcle %r2,%r4,0\n\tjo move_long_into");
INSN(purge_and_store, "ptlb\n\tstg %r3,0(%r2)");
INSN(store_everywhere, "lghi %r1,512\n0:\tstg %r3,0(%r2)\n\tla %r2,8(%r2)\n\tbrctg %r1,0b");

static volatile u64 hold, held;

static void store_until_held(void)
{
	struct regs in = { .gr = { [2] = address, [3] = PAGE, [4] = (u64)pages[GOOD],
				   [5] = PAGE } };

	while (!stop) {
		struct outcome o = run(mask, code, &in);

		if (o.code != NONE && o.code != DISCARDED)
			wrong++;
		progress++;
		while (hold && !stop)
			held = hold;
	}
}

static void stores_while_the_block_goes(u64 m, const u8 *c, int rounds)
{
	u64 block = (u64)pages[BAD];

	mask = m;
	code = c;
	address = address_of(m, BAD);
	stop = 0;
	hold = held = 0;
	wrong = 0;
	fill(pages[GOOD], 0x33, PAGE);
	essa(SET_STABLE, block);
	cpu1_run(store_until_held);
	for (int i = 0; i < rounds && !failed(); i++) {
		wait_for_progress();
		for (int pause = i % 64; pause; pause--)
			barrier();
		essa(SET_VOLATILE, block);
		barrier();
		hold = i + 1;
		while (held != hold)
			barrier();
		equal("discarded", essa(GET, block), Vz);
		essa(SET_STABLE, block);
		equal("zeros", filled(pages[BAD], 0, PAGE), 1);
		hold = 0;
		barrier();
	}
	stop = 1;
	cpu1_wait();
	equal("wrong outcomes", wrong, 0);
}

static void page_move_of_the_other_cpu_ends_before_the_block_goes(void)
{
	stores_while_the_block_goes(REAL, move_page_into, 60);
	stores_while_the_block_goes(DAT, move_page_into, 60);
}

static void long_move_of_the_other_cpu_ends_before_the_block_goes(void)
{
	stores_while_the_block_goes(DAT, move_long_into, 60);
}

static void store_after_a_purge_of_the_other_cpu_ends_before_the_block_goes(void)
{
	stores_while_the_block_goes(DAT, purge_and_store, 60);
}

static void stores_of_the_other_cpu_end_before_the_block_goes(void)
{
	stores_while_the_block_goes(DAT, store_everywhere, 60);
}

/*
 * One CPU makes the block volatile, the other one stable again.  The answer "volatile,
 * resident" is a promise: the block is stable now and holds what it held.  So many
 * operations in one piece of code are under way when the other CPU's one comes.
 */
INSN(set_stable_if_resident, ".rept 100\n\t.insn rrf,0xb9ab0000,%r1,%r2,6,0\n\t"
     "ogr %r5,%r1\n\t.endr");

static volatile u64 go, gone;

static void make_volatile_when_told(void)
{
	for (u64 last = 0; !stop; ) {
		if (go == last)
			continue;
		last = go;
		for (int pause = last % 16; pause; pause--)
			barrier();
		essa(SET_VOLATILE, address);
		barrier();
		gone = last;
	}
}

static void a_block_made_stable_in_time_keeps_its_content(void)
{
	u64 block = (u64)pages[BAD], lost = 0;
	struct regs in = { .gr = { [2] = block } };

	stop = 0;
	address = block;
	go = gone = 0;
	cpu1_run(make_volatile_when_told);
	for (u64 i = 1; i <= 2 * ROUNDS; i++) {
		struct outcome o;

		essa(SET_STABLE, block);
		*(volatile u64 *)block = i;
		barrier();
		go = i;
		barrier();
		o = run(REAL, set_stable_if_resident, &in);
		while (gone != i)
			barrier();
		if (o.out.gr[5] == Vr) {
			lost += essa(GET, block) != Sr ||
				touch(REAL, load, block).out.gr[1] != i;
		}
	}
	stop = 1;
	cpu1_wait();
	essa(SET_STABLE, block);
	equal("promises broken", lost, 0);
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
	if (!(mode & (PLAIN | ALWAYS | RANDOM | REAL_KVM)))
		return;
	TEST(~0, cpu1_init);
	TEST(ALWAYS, real_load_on_the_other_cpu);
	TEST(ALWAYS, translated_load_on_the_other_cpu);
	TEST(ALWAYS, real_store_on_the_other_cpu);
	TEST(ALWAYS, translated_store_on_the_other_cpu);
	TEST(ALWAYS, translated_mvc_on_the_other_cpu);
	TEST(ALWAYS, translated_compare_and_swap_on_the_other_cpu);
	TEST(ALWAYS, endless_loops_on_the_other_cpu_end);
	TEST(PLAIN | REAL_KVM, a_discard_by_the_host_ends_endless_loops_too);
	TEST(ALWAYS, the_same_real_address_is_another_block_on_each_cpu);
	TEST(ALWAYS, page_move_of_the_other_cpu_ends_before_the_block_goes);
	TEST(ALWAYS, long_move_of_the_other_cpu_ends_before_the_block_goes);
	TEST(ALWAYS, store_after_a_purge_of_the_other_cpu_ends_before_the_block_goes);
	TEST(ALWAYS, stores_of_the_other_cpu_end_before_the_block_goes);
	TEST(ALWAYS, a_block_made_stable_in_time_keeps_its_content);
	TEST(ALWAYS, a_block_that_stays_does_not_suffer);
	TEST(PLAIN | ALWAYS | RANDOM | REAL_KVM, both_cpus_change_and_touch);
	cpu1_stop();
}
