// SPDX-License-Identifier: GPL-2.0
/* Blocks that the host pages out and in again. */

#include "bare.h"

/* Blocks for these tests, far from the program, which is paged out as well. */
#define FAR	0x2000000UL
#define FAR_BLOCKS	768

static u64 far(int i)
{
	return FAR + i * PAGE;
}

static bool far_filled(int i, int byte)
{
	return filled((void *)far(i), byte, PAGE);
}

static void fill_far(int i, int byte)
{
	essa(SET_STABLE, far(i));
	fill((void *)far(i), byte, PAGE);
}

static void evict_far(int i, int byte)
{
	fill_far(i, byte);
	host("discard evict");
	equal("paged out", essa(GET, far(i)), Sp);
}

static void before_keys_are_used_every_block_counts_as_changed(void)
{
	fill_far(0, 0x5a);
	essa(SET_POTENTIAL, far(0));
	host("discard volatile");
	equal("not taken", essa(GET, far(0)), Pr);
	host("discard evict");
	equal("preserved", essa(GET, far(0)), Sp);
	equal("content intact", far_filled(0, 0x5a), 1);
}

static void a_stable_block_is_preserved_with_its_content(void)
{
	evict_far(0, 0x5a);
	equal("still paged out", essa(GET, far(0)), Sp);
	equal("content intact", far_filled(0, 0x5a), 1);
	equal("resident", essa(GET, far(0)), Sr);
	/* The copy in the file is not the content any more. */
	fill((void *)far(0), 0xa5, PAGE);
	host("discard evict");
	equal("paged out", essa(GET, far(0)), Sp);
	equal("new content intact", far_filled(0, 0xa5), 1);
}

/* What becomes of each state by each action; PrC is Pr with the change bit set. */
enum { PrC = 0x18 };
static const struct { u8 state, by_unused, by_volatile, by_evict; } actions[] = {
	{ Sr, Sr, Sr, Sp },
	{ Sp, Sp, Sp, Sp },
	{ Sz, Sz, Sz, Sz },
	{ Ur, Uz, Ur, Uz },
	{ Uz, Uz, Uz, Uz },
	{ Vr, Vr, Vz, Vz },
	{ Vz, Vz, Vz, Vz },
	{ Pr, Pr, Vz, Vz },
	{ PrC, Pr, Pr, Sp },
};

static void enter_action_states(void)
{
	for (u64 i = 0; i < ARRAY_SIZE(actions); i++) {
		u8 state = actions[i].state;

		fill_far(i, 0x40 + i);
		if ((state & 3) == 3)
			essa(SET_VOLATILE, far(i));
	}
	host("discard volatile");
	host("discard evict");
	for (u64 i = 0; i < ARRAY_SIZE(actions); i++) {
		u8 state = actions[i].state;

		if (state != Sp && (state & 3) == 0)
			fill((void *)far(i), 0x40 + i, PAGE);	/* resident again */
		if (state == Sz)
			essa(SET_STABLE, far(i));
		if ((state & USAGE) == Ur)
			essa(SET_UNUSED, far(i));
		if (state == Vr)
			essa(SET_VOLATILE, far(i));
		if (state == Pr)
			set_key(far(i), 0);
		if (state == Pr || state == PrC)
			essa(SET_POTENTIAL, far(i));
		equal("state to start from", essa(GET, far(i)), state & 0xf);
	}
}

/* Content survives in every state but those that end in "zero". */
static void after_action(int i, u8 state)
{
	equal("state", essa(GET, far(i)), state);
	if (failed())
		say("# from state 0x%lx\n", (u64)actions[i].state);
	essa(SET_STABLE, far(i));
	equal("content", far_filled(i, (state & 3) == 3 ? 0 : 0x40 + i), 1);
}

static void the_host_takes_unused_in_every_state(void)
{
	enter_action_states();
	host("discard unused");
	for (u64 i = 0; i < ARRAY_SIZE(actions); i++)
		after_action(i, actions[i].by_unused);
}

static void the_host_takes_volatile_in_every_state(void)
{
	enter_action_states();
	host("discard volatile");
	for (u64 i = 0; i < ARRAY_SIZE(actions); i++)
		after_action(i, actions[i].by_volatile);
}

static void the_host_evicts_in_every_state(void)
{
	enter_action_states();
	host("discard evict");
	for (u64 i = 0; i < ARRAY_SIZE(actions); i++)
		after_action(i, actions[i].by_evict);
}

static void the_map_shows_a_preserved_block(void)
{
	evict_far(1, 0x11);
	host_at("map", far(1), "2");
	equal("content intact", far_filled(1, 0x11), 1);
	host_at("map", far(1), "0");
}

static void operations(bool changed)
{
	/*		      GET 1   2   3   4   5   6   7 */
	static const u8 to[] = { Sp, Sp, Uz, Vz, Vz, Sr, Sp, Sp | NODAT };

	for (int op = 0; op < 8; op++) {
		fill_far(op, 0x70 + op);
		if (!changed)
			set_key(far(op), 0);
	}
	host("discard evict");
	for (int op = 0; op < 8; op++) {
		u8 want = op == SET_POTENTIAL && changed ? Sp : to[op];

		equal("old state", essa(op, far(op)), Sp);
		equal("new state", essa(GET, far(op)), want);
		if (failed())
			say("# operation %lu\n", (u64)op);
		if ((want & USAGE) == Vr)
			equal("access", touch(DAT, load, far(op)).code, DISCARDED);
		equal("old state", essa(SET_STABLE, far(op)), want);
		equal("content", far_filled(op, (want & 3) == 3 ? 0 : 0x70 + op), 1);
	}
}

static void operations_on_a_preserved_block_that_was_changed(void)
{
	operations(1);
}

static void operations_on_a_preserved_block_that_was_not_changed(void)
{
	operations(0);
}

/* A copy that was thrown away does not come back by paging out once more. */
static void a_copy_that_was_thrown_away_is_gone(void)
{
	static const u8 away[] = { SET_UNUSED, SET_VOLATILE };

	for (u64 i = 0; i < ARRAY_SIZE(away); i++) {
		evict_far(0, 0x5a);
		essa(away[i], far(0));
		essa(SET_STABLE, far(0));
		equal("logically zero", essa(GET, far(0)), Sz);
		host("discard evict");
		equal("nothing to page out", essa(GET, far(0)), Sz);
		equal("zeros", far_filled(0, 0), 1);
		host("discard evict");
		equal("zeros are a content", essa(GET, far(0)), Sp);
		equal("zeros", far_filled(0, 0), 1);
	}
}

static void page_in_does_not_set_the_change_bit(void)
{
	fill_far(0, 0x5a);
	set_key(far(0), 0);
	host("discard evict");
	equal("not changed by paging out", get_key(far(0)) & KEY_CHANGED, 0);
	equal("load", touch(REAL, load, far(0)).out.gr[1], 0x5a5a5a5a5a5a5a5a);
	equal("resident", essa(GET, far(0)), Sr);
	equal("not changed by paging in", get_key(far(0)) & KEY_CHANGED, 0);
	equal("store", touch(REAL, store, far(0)).code, NONE);
	equal("changed by a store", get_key(far(0)) & KEY_CHANGED, KEY_CHANGED);
}

/* Every block holds its address, but for what the access stores. */
INSN(store_one_byte, "mvi 9(%r2),1");
INSN(move_256, "mvc 0(256,%r2),0(%r4)");
INSN(add_to_storage, Z13("laag %r1,%r3,8(%r2)"));

static const struct { const u8 *code; u64 mask; u8 from, to; } accesses[] = {
	{ load, REAL, 0, 0 },
	{ load, DAT, 0, 0 },
	{ store, REAL, 0, 8 },
	{ store, DAT, 0, 8 },
	{ store_one_byte, REAL, 9, 10 },
	{ store_one_byte, DAT, 9, 10 },
	{ add_to_storage, DAT, 8, 16 },
	{ compare_and_swap, DAT, 0, 8 },
};

static void an_access_pages_in_and_the_rest_is_intact(void)
{
	for (u64 i = 0; i < ARRAY_SIZE(accesses); i++)
		fill_far(i, 0x21 + i);
	host("discard evict");
	for (u64 i = 0; i < ARRAY_SIZE(accesses); i++) {
		struct outcome o;

		equal("paged out", essa(GET, far(i)), Sp);
		o = touch(accesses[i].mask, accesses[i].code, far(i));
		equal("completes", o.code, NONE);
		equal("resident", essa(GET, far(i)), Sr);
		equal("before", filled((void *)far(i), 0x21 + i, accesses[i].from), 1);
		equal("after", filled((void *)far(i) + accesses[i].to, 0x21 + i,
				      PAGE - accesses[i].to), 1);
		if (accesses[i].code == load)
			equal("loaded", o.out.gr[1], 0x0101010101010101 * (0x21 + i));
	}
}

static void an_access_may_need_several_preserved_blocks(void)
{
	struct regs in = { .gr = { [2] = far(1) - 100, [4] = far(3) - 56 } };
	struct outcome o;

	for (int i = 0; i < 4; i++)
		fill_far(i, 0x31 + i);
	host("discard evict");
	o = run(DAT, move_256, &in);
	equal("completes", o.code, NONE);
	for (int i = 0; i < 4; i++)
		equal("resident", essa(GET, far(i)), Sr);
	equal("moved", filled((void *)far(1) - 100, 0x33, 56), 1);
	equal("moved", filled((void *)far(1) - 44, 0x34, 200), 1);
	equal("kept", filled((void *)far(0), 0x31, PAGE - 100), 1);
	equal("kept", filled((void *)far(1) + 156, 0x32, PAGE - 156), 1);
}

static void code_is_paged_in(void)
{
	static const u64 masks[] = { REAL, DAT };

	for (u64 i = 0; i < ARRAY_SIZE(masks); i++) {
		for (int j = 0; j < 5; j++) {
			fill_far(0, 0);
			write_code((void *)far(0));
			code_runs(masks[i], far(0));
			host("discard evict");
			equal("paged out", essa(GET, far(0)), Sp);
			code_runs(masks[i], far(0));
			equal("resident", essa(GET, far(0)), Sr);
		}
	}
}

static void as_many_as_asked_for_are_evicted(void)
{
	int gone = 0;

	for (int i = 0; i < 8; i++) {
		fill_far(i, 0x41);
		essa(SET_VOLATILE, far(i));
	}
	/* What costs the guest nothing to lose goes first. */
	host("discard evict 3");
	for (int i = 0; i < 8; i++) {
		gone += essa(GET, far(i)) == Vz;
		essa(SET_STABLE, far(i));
	}
	equal("gone", gone, 3);
}

/* SCLP reads and writes its block as a device does, without any translation. */
static void a_device_reads_and_writes_a_preserved_block(void)
{
	u64 read_scp_info = 0x00020001, at = far(0);
	volatile u16 *sccb = (u16 *)at;

	fill_far(0, 0);
	sccb[0] = PAGE;
	host("discard evict");
	equal("paged out", essa(GET, at), Sp);
	asm volatile(".insn rre,0xb2200000,%0,%1"
		     : : "d" (read_scp_info), "d" (at) : "cc", "memory");
	equal("resident", essa(GET, at), Sr);
	equal("response", sccb[3], 0x0010);
	equal("length", sccb[0], PAGE);
}

/* Two CPUs. */

#define WORDS	(PAGE / 8)
static volatile bool stop;
static volatile u64 wrong, turn, finished, count1;

static volatile u64 *words(int i)
{
	return (u64 *)far(i);
}

/* CPU number n owns every other word. */
static void use_words(int blocks, int n, u64 round)
{
	for (int i = 0; i < blocks; i++) {
		volatile u64 *at = words(i);
		/* Both go for the same block first, at different ends. */
		for (u64 j = n; j < WORDS; j += 2) {
			u64 k = n ? WORDS - j : j;

			wrong += at[k] != (round - 1) * 1000 + k;
			at[k] = round * 1000 + k;
		}
	}
}

#define ROUNDS	20
#define BLOCKS	32

static void use_words_on_cpu1(void)
{
	for (u64 round = 1; round <= ROUNDS; round++) {
		while (turn < round)
			barrier();
		use_words(BLOCKS, 1, round);
		barrier();
		finished = round;
	}
}

static void init_words(int first, int blocks)
{
	for (int i = first; i < first + blocks; i++) {
		essa(SET_STABLE, far(i));
		for (u64 k = 0; k < WORDS; k++)
			words(i)[k] = k;
	}
}

static void both_cpus_page_in_the_same_blocks(void)
{
	wrong = turn = finished = 0;
	init_words(0, BLOCKS);
	cpu1_run(use_words_on_cpu1);
	for (u64 round = 1; round <= ROUNDS && !failed(); round++) {
		host("discard evict");
		for (int i = 0; i < BLOCKS; i++)
			equal("paged out", essa(GET, far(i)), Sp);
		turn = round;
		barrier();
		use_words(BLOCKS, 0, round);
		while (finished < round)
			barrier();
	}
	turn = ROUNDS;
	cpu1_wait();
	equal("wrong words", wrong, 0);
}

/* Nobody waits for anybody: pages go while both CPUs use them. */
static void hammer_blocks(int first, int blocks, volatile u64 *rounds, u64 *out)
{
	u64 round = ++*rounds;

	for (int i = first; i < first + blocks; i++) {
		if (out)
			*out += essa(GET, far(i)) == Sp;
		for (u64 k = 0; k < WORDS; k += 8) {
			wrong += words(i)[k] != (round - 1) * 1000 + k;
			words(i)[k] = round * 1000 + k;
		}
	}
}

static void hammer_on_cpu1(void)
{
	while (!stop)
		hammer_blocks(64, 64, &count1, 0);
}

static void eviction_while_both_cpus_use_the_blocks(void)
{
	u64 count0 = 0, out = 0;

	wrong = count1 = stop = 0;
	init_words(0, 128);
	cpu1_run(hammer_on_cpu1);
	for (int i = 0; i < 40; i++) {
		lowcore()->restarted = 0;
		say("@@discard evict\n@@done\n");
		for (u64 limit = tod_ms() + 20000; tod_ms() < limit; ) {
			hammer_blocks(0, 64, &count0, &out);
			if (*(volatile u64 *)&lowcore()->restarted)
				break;
		}
	}
	stop = 1;
	cpu1_wait();
	equal("wrong words", wrong, 0);
	equal("blocks were out", out > 0, 1);
	equal("both ran", count0 > 40 && count1 > 40, 1);
}

/* The change of usage and the eviction meet; a stable block never loses its content. */
static void change_usage_on_cpu1(void)
{
	while (!stop) {
		for (int i = 0; i < 64; i++) {
			u64 at = far(i);

			essa(SET_POTENTIAL, at);
			essa(SET_STABLE, at);
			count1++;
		}
	}
}

static void eviction_and_changes_of_usage_at_once(void)
{
	u64 count0 = 0, lost = 0;

	wrong = count1 = stop = 0;
	init_words(0, 128);
	for (int i = 64; i < 128; i++)
		essa(SET_VOLATILE, far(i));
	cpu1_run(change_usage_on_cpu1);
	for (int i = 0; i < 30; i++) {
		host("discard evict");
		for (int j = 64; j < 128; j++) {
			u64 state = essa(SET_STABLE_IF_RESIDENT, far(j));

			/* Resident, then stable now; or gone, and then it stays so. */
			if (state == Vz) {
				lost++;
				essa(SET_STABLE, far(j));
				wrong += !far_filled(j, 0);
				init_words(j, 1);
			} else {
				wrong += words(j)[7] != 7;
			}
			essa(SET_VOLATILE, far(j));
		}
		count0++;
	}
	stop = 1;
	cpu1_wait();
	/* Written, so changed: P goes to the file, never away. */
	for (int i = 0; i < 64; i++) {
		essa(SET_STABLE_IF_RESIDENT, far(i));
		for (u64 k = 0; k < WORDS; k++)
			wrong += words(i)[k] != k;
	}
	for (int i = 0; i < 128; i++)
		essa(SET_STABLE, far(i));
	equal("wrong words", wrong, 0);
	equal("volatile blocks went", lost > 0, 1);
	equal("cpu 1 ran", count1 > 0, 1);
}

static void potentially_volatile_blocks_and_policy_always(void)
{
	u64 at = (u64)pages[BAD];

	/* Not changed since its key was set: gone with the ESSA. */
	fill(pages[BAD], 0x5a, PAGE);
	set_key(at, 0);
	essa(SET_POTENTIAL, at);
	equal("discarded", essa(GET, at), Vz);
	equal("access", touch(REAL, load, at).code, DISCARDED);
	essa(SET_STABLE, at);
	equal("zeros", filled(pages[BAD], 0, PAGE), 1);

	/* Changed: stays. */
	set_key(at, 0);
	fill(pages[BAD], 0x5a, PAGE);
	essa(SET_POTENTIAL, at);
	equal("stays", essa(GET, at), Pr);
	essa(SET_STABLE, at);
	equal("content kept", filled(pages[BAD], 0x5a, PAGE), 1);
}

void test_preserved(void)
{
	TEST(ALWAYS, potentially_volatile_blocks_and_policy_always);
	if (!(mode & PRESERVED))
		return;
	TEST(~0, before_keys_are_used_every_block_counts_as_changed);
	TEST(~0, a_stable_block_is_preserved_with_its_content);
	TEST(~0, the_host_takes_unused_in_every_state);
	TEST(~0, the_host_takes_volatile_in_every_state);
	TEST(~0, the_host_evicts_in_every_state);
	TEST(~0, the_map_shows_a_preserved_block);
	TEST(~0, operations_on_a_preserved_block_that_was_changed);
	TEST(~0, operations_on_a_preserved_block_that_was_not_changed);
	TEST(~0, a_copy_that_was_thrown_away_is_gone);
	TEST(~0, page_in_does_not_set_the_change_bit);
	TEST(~0, an_access_pages_in_and_the_rest_is_intact);
	TEST(~0, an_access_may_need_several_preserved_blocks);
	TEST(~0, code_is_paged_in);
	TEST(~0, as_many_as_asked_for_are_evicted);
	TEST(~0, a_device_reads_and_writes_a_preserved_block);
	TEST(~0, cpu1_init);
	TEST(~0, both_cpus_page_in_the_same_blocks);
	TEST(~0, eviction_while_both_cpus_use_the_blocks);
	TEST(~0, eviction_and_changes_of_usage_at_once);
	cpu1_stop();
}
