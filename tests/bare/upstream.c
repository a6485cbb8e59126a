// SPDX-License-Identifier: GPL-2.0
/*
 * What is wrong in QEMU without ESSA as well, beside storage keys (keys.c): no ESSA
 * here, so that these run on any host.
 */

#include "bare.h"

/* Two pages of which the second is not mapped, and one that real block 1 has. */
#define MAPPED		(WINDOW + 0x60 * PAGE)
#define HOLE		(WINDOW + 0x61 * PAGE)
#define VIRTUAL_ONE	(WINDOW + 0x62 * PAGE)
#define INVALID		0x400

/* Where the operand crosses from one page into the other. */
#define OPERAND		(HOLE - 3)

static u8 area[2][2 * PAGE] __attribute__((aligned(2 * PAGE)));
static u8 plus_one[256];

static void set_prefix_moves_what_is_translated_to_the_prefix_area(void)
{
	struct outcome first, second, back;

	for (int i = 0; i < 2; i++) {
		copy(area[i], lowcore(), sizeof(area[i]));
		fill(area[i] + PAGE, 0xa0 + i, PAGE);
	}
	dat_map(VIRTUAL_ONE, PAGE);
	set_prefix_to((u64)area[0]);
	first = touch(DAT, load, VIRTUAL_ONE);
	set_prefix_to((u64)area[1]);
	second = touch(DAT, load, VIRTUAL_ONE);
	set_prefix_to((u64)area[0]);
	back = touch(DAT, load, VIRTUAL_ONE);
	set_prefix_to(0);
	equal("first prefix", first.out.gr[1], 0xa0a0a0a0a0a0a0a0);
	equal("second prefix", second.out.gr[1], 0xa1a1a1a1a1a1a1a1);
	equal("first prefix again", back.out.gr[1], 0xa0a0a0a0a0a0a0a0);
}

/* The guest maps the page and has the instruction executed again. */
static void translated_once(const u8 *code)
{
	struct regs in = { .gr = { [0] = 0xff, [2] = OPERAND, [3] = 8, [4] = (u64)plus_one } };
	u8 *operand = pages[BAD] + PAGE - 3;	/* pages[BAD + 1] is behind it */
	struct outcome o;

	for (int i = 0; i < 256; i++)
		plus_one[i] = i + 1;
	for (int i = 0; i < 8; i++)
		operand[i] = 0x10 * i;
	dat_map(MAPPED, (u64)pages[BAD]);
	dat_map(HOLE, INVALID);
	asm volatile("ptlb" : : : "memory");
	o = run(DAT, code, &in);
	equal("interruption", o.code, NOT_MAPPED);
	for (int i = 0; i < 8; i++)
		equal("nothing is translated yet", operand[i], 0x10 * i);
	dat_map(HOLE, (u64)pages[BAD + 1]);
	o = run(DAT, code, &o.out);
	equal("retry", o.code, NONE);
	for (int i = 0; i < 8; i++)
		equal("translated once", operand[i], 0x10 * i + 1);
}

static void translate_is_nullified(void)
{
	translated_once(translate_target);
}

static void translate_extended_is_nullified(void)
{
	translated_once(translate_extended);
}

/* Not translated by a TLB, but presented like any other. */
static void store_system_information_into_a_page_that_is_not_mapped(void)
{
	struct regs in = { .gr = { [0] = 0x10000001, [1] = 1, [2] = HOLE } };
	struct outcome o;

	fill(pages[BAD], 0x77, PAGE);
	dat_map(HOLE, INVALID);
	asm volatile("ptlb" : : : "memory");
	touch(DAT, load, (u64)pages[GOOD]);	/* the last miss of the TLB is a good one */
	o = run(DAT, store_system_information, &in);
	equal("interruption", o.code, NOT_MAPPED);
	equal("page", o.teid & ~(PAGE - 1), HOLE);
	equal("instruction", o.psw_addr, (u64)store_system_information);
	dat_map(HOLE, (u64)pages[BAD]);
	o = run(DAT, store_system_information, &in);
	equal("retry", o.code, NONE);
	equal("it is stored", filled(pages[BAD], 0x77, PAGE), 0);
}

/*
 * Storage keys exist from the first instruction on that uses them.  The runner makes
 * QEMU take long to make them, and the second CPU comes while it does: a little later,
 * because the first CPU has to get there.
 */
static u8 first_page[PAGE] __attribute__((aligned(PAGE)));
static u8 second_page[PAGE] __attribute__((aligned(PAGE)));
static volatile u64 start;

static u64 microseconds(void)
{
	u64 tod;

	asm volatile("stckf %0" : "=Q" (tod) : : "cc");
	return tod >> 12;
}

static void set_the_second_key(void)
{
	while (!start || microseconds() < start)
		;
	set_key((u64)second_page, 0x50);
}

static void key_set_while_the_other_cpu_sets_the_first_one(void)
{
	cpu1_run(set_the_second_key);
	for (u64 end = microseconds() + 20000; microseconds() < end; )
		;
	start = microseconds() + 400;
	set_key((u64)first_page, 0x30);
	cpu1_wait();
	equal("first key", get_key((u64)first_page) & 0xf0, 0x30);
	equal("second key", get_key((u64)second_page) & 0xf0, 0x50);
}

void test_first_key(void)
{
	TEST(~0, cpu1_init);
	TEST(~0, key_set_while_the_other_cpu_sets_the_first_one);
	cpu1_stop();
}

void test_upstream(void)
{
	TEST(~0, set_prefix_moves_what_is_translated_to_the_prefix_area);
	TEST(~0, translate_is_nullified);
	TEST(~0, translate_extended_is_nullified);
	TEST(~0, store_system_information_into_a_page_that_is_not_mapped);
}
