// SPDX-License-Identifier: GPL-2.0
/*
 * Storage keys: what a host goes by that takes a potentially volatile block.  No
 * ESSA here, so that these run on any host.
 */

#include "bare.h"

#define REFERENCED	4
#define CHANGED		2
#define ROUNDS		4000	/* every race was found within 3000 */
#define AT_MOST_MS	5000

static u8 sccb[PAGE] __attribute__((aligned(PAGE)));
static u8 page[PAGE] __attribute__((aligned(PAGE)));

static u64 with_key(const u8 *code, u64 key, const void *at)
{
	struct regs in = { .gr = { [1] = key, [2] = (u64)at } };
	struct outcome o = run(REAL, code, &in);

	equal("interruption", o.code, NONE);
	return o.out.gr[1];
}

INSN(reset_reference_cc, "rrbe %r0,%r2\n\tipm %r1\n\tsrl %r1,28");

static u64 reset_reference(const void *at)
{
	return with_key(reset_reference_cc, 0, at);
}

/* Has to be the first test: nothing has used keys, so nothing was recorded. */
static void the_first_look_finds_everything_changed(void)
{
	fill(page, 1, PAGE);
	equal("bits of a page written before",
	      get_key((u64)page) & (REFERENCED | CHANGED), REFERENCED | CHANGED);
	equal("and of one written by a device",
	      get_key(ram_size() - PAGE) & (REFERENCED | CHANGED),
	      REFERENCED | CHANGED);
}

static void key_is_what_was_set(void)
{
	for (u64 key = 0; key < 0x100; key += 2) {
		set_key((u64)page, key);
		equal("key", get_key((u64)page), key);
	}
}

/* One after the other, as a translator of code would like it best. */
INSN(store_set_store_insert, "mvi 0(%r2),1\n\tsske %r1,%r2\n\tmvi 0(%r2),2\n\tiske %r1,%r2");
INSN(load_set_load_insert, "ic %r3,0(%r2)\n\tsske %r1,%r2\n\tic %r3,0(%r2)\n\tiske %r1,%r2");
INSN(load_reset_load_reset, "ic %r3,0(%r2)\n\trrbe %r0,%r2\n\tic %r3,0(%r2)\n\t"
     "rrbe %r0,%r2\n\tipm %r1\n\tsrl %r1,28");

static void store_right_after_set_key_is_recorded(void)
{
	for (int i = 0; i < 3; i++)
		equal("key", with_key(store_set_store_insert, 0x50, page),
		      0x50 | REFERENCED | CHANGED);
}

static void load_right_after_set_key_is_recorded(void)
{
	for (int i = 0; i < 3; i++)
		equal("key", with_key(load_set_load_insert, 0x50, page), 0x50 | REFERENCED);
}

static void load_right_after_reset_reference_is_recorded(void)
{
	for (int i = 0; i < 3; i++) {
		set_key((u64)page, 0);
		equal("condition code", with_key(load_reset_load_reset, 0, page), 2);
		set_key((u64)page, CHANGED);
		equal("condition code", with_key(load_reset_load_reset, 0, page), 3);
	}
}

/*
 * The second CPU says that it is about to do something, and does it a little
 * later, each time another while: that is when the first one does the opposite.
 */
#define DELAY "lgr %r5,%r3\n9: brctg %r5,9b\n\t"
INSN(announce_and_store, "0: ptlb\n\tagsi 0(%r4),1\n\t" DELAY "mvi 0(%r2),1\n\tbrctg %r1,0b");
INSN(announce_and_reset, "agsi 0(%r4),1\n\t" DELAY "rrbe %r0,%r2");
static const u8 *what;
static void *where;
static volatile u64 announced, go, done;
static volatile bool stop;

static void announce_and_do(u64 times)
{
	static u64 count;
	struct regs in = { .gr = { [1] = times, [2] = (u64)where, [3] = 100 + count % 4096,
				   [4] = (u64)&announced } };

	run(REAL, what, &in);
	count += 61;
}

static void keep_doing(void)
{
	while (!stop)
		announce_and_do(4);
}

static void do_when_told(void)
{
	while (!stop) {
		u64 round = go;

		if (round != done) {
			announce_and_do(1);
			done = round;
		}
	}
}

static void start(void (*job)(void), const u8 *code, void *at)
{
	what = code;
	where = at;
	stop = 0;
	go = done = 0;
	cpu1_run(job);
}

static void finish(void)
{
	stop = 1;
	cpu1_wait();
}

static void wait_for_announcement(u64 round)
{
	u64 before = announced;

	go = round;
	while (announced == before)
		;
}

static void wait_until_done(u64 round)
{
	while (done != round)
		;
}

static void set_key_is_not_lost_to_a_store_of_the_other_cpu(void)
{
	u64 lost = 0, end = tod_ms() + AT_MOST_MS;

	start(keep_doing, announce_and_store, page);
	for (u64 i = 0; i < ROUNDS && !lost && tod_ms() < end; i++) {
		/* The store that follows the first is what may undo the second. */
		set_key((u64)page, 0x10);
		wait_for_announcement(i);
		set_key((u64)page, 0x20);
		lost = (get_key((u64)page) & 0xf0) != 0x20;
	}
	finish();
	equal("lost", lost, 0);
}

static void change_is_not_lost_to_reset_reference_on_the_other_cpu(void)
{
	u64 lost = 0, end = tod_ms() + AT_MOST_MS;

	start(do_when_told, announce_and_store, page);
	for (u64 i = 1; i <= ROUNDS && !lost && tod_ms() < end; i++) {
		set_key((u64)page, 0);
		wait_for_announcement(i);
		asm volatile("rrbe %%r0,%0" : : "a" (page) : "cc", "memory");
		wait_until_done(i);
		lost = !(get_key((u64)page) & CHANGED);
	}
	finish();
	equal("lost", lost, 0);
}

/* READ SCP INFO: the response is written by the SCLP, a device. */
static void written_by_a_device(void)
{
	u64 read_scp_info = 0x00020001, at = (u64)sccb;
	int cc;

	do {
		asm volatile(".insn rre,0xb2200000,%1,%2\n\tipm %0\n\tsrl %0,28"
			     : "=d" (cc) : "d" (read_scp_info), "d" (at) : "cc", "memory");
	} while (cc == 2);
	equal("condition code", cc, 0);
}

static void prepare_sccb(void)
{
	fill(sccb, 0, 16);
	sccb[0] = PAGE >> 8;
}

static void write_by_a_device_sets_reference_and_change(void)
{
	for (int i = 0; i < 3; i++) {
		prepare_sccb();
		set_key((u64)page, 0x50);
		set_key((u64)sccb, 0x30);
		equal("key before", get_key((u64)sccb), 0x30);
		written_by_a_device();
		equal("key", get_key((u64)sccb), 0x30 | REFERENCED | CHANGED);
		equal("key of another page", get_key((u64)page), 0x50);
		set_key((u64)sccb, 0x40);
		equal("key set after that", get_key((u64)sccb), 0x40);
	}
}

static void reset_reference_keeps_the_change_by_a_device(void)
{
	prepare_sccb();
	set_key((u64)sccb, 0);
	written_by_a_device();
	equal("condition code", reset_reference(sccb), 3);
	equal("key", get_key((u64)sccb), CHANGED);
	equal("condition code", reset_reference(sccb), 1);
	written_by_a_device();
	equal("condition code", reset_reference(sccb), 3);
	equal("key", get_key((u64)sccb), CHANGED);
}

/* RRBE makes what is known of devices part of the key: not too late ... */
INSN(keep_inserting, "0: iske %r1,%r2\n\tngr %r3,%r1\n\tbrctg %r4,0b");

static void change_by_a_device_is_seen_while_the_other_cpu_resets_reference(void)
{
	struct regs in = { .gr = { [2] = (u64)sccb, [3] = -1UL, [4] = 300 } };
	u64 end = tod_ms() + AT_MOST_MS;

	prepare_sccb();
	start(do_when_told, announce_and_reset, sccb);
	for (u64 i = 1; i <= ROUNDS && !failed() && tod_ms() < end; i++) {
		struct outcome o;

		set_key((u64)sccb, 0);
		written_by_a_device();
		wait_for_announcement(i);
		o = run(REAL, keep_inserting, &in);
		equal("changed", o.out.gr[3] & CHANGED, CHANGED);
		wait_until_done(i);
		equal("changed after that", get_key((u64)sccb) & CHANGED, CHANGED);
	}
	finish();
}

/* ... and not when SSKE has replaced the key already. */
static void change_by_a_device_does_not_come_back_after_set_key(void)
{
	u64 end = tod_ms() + AT_MOST_MS;

	prepare_sccb();
	start(do_when_told, announce_and_reset, sccb);
	for (u64 i = 1; i <= ROUNDS && !failed() && tod_ms() < end; i++) {
		set_key((u64)sccb, 0);
		written_by_a_device();
		wait_for_announcement(i);
		set_key((u64)sccb, 0);
		wait_until_done(i);
		equal("key that was set", get_key((u64)sccb), 0);
	}
	finish();
}

void test_keys(void)
{
	if (!(mode & (PLAIN | ALWAYS | ABSENT)))
		return;
	TEST(~0, the_first_look_finds_everything_changed);
	TEST(~0, key_is_what_was_set);
	TEST(~0, store_right_after_set_key_is_recorded);
	TEST(~0, load_right_after_set_key_is_recorded);
	TEST(~0, load_right_after_reset_reference_is_recorded);
	TEST(~0, write_by_a_device_sets_reference_and_change);
	TEST(~0, reset_reference_keeps_the_change_by_a_device);
	if (mode & ABSENT) {
		TEST(~0, cpu1_init);
		TEST(~0, set_key_is_not_lost_to_a_store_of_the_other_cpu);
		TEST(~0, change_is_not_lost_to_reset_reference_on_the_other_cpu);
		TEST(~0, change_by_a_device_is_seen_while_the_other_cpu_resets_reference);
		TEST(~0, change_by_a_device_does_not_come_back_after_set_key);
		cpu1_stop();
	}
}
