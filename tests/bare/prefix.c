// SPDX-License-Identifier: GPL-2.0
/*
 * Prefixing.  With a prefix P, real blocks 0 and 1 are the absolute blocks of the
 * prefix area at P, and the real blocks of that area are absolute 0 and 1.  States
 * belong to absolute blocks.
 *
 * Only the second block of a prefix area is ever discarded: no interruption uses it
 * here.  Nothing but the tests themselves runs while the prefix is not zero.
 */

#include "bare.h"

static u8 area[2][2 * PAGE] __attribute__((aligned(2 * PAGE)));

/* Virtual addresses that map real block 1, and block 1 of each area. */
#define VIRTUAL_ONE	(WINDOW + 0x20 * PAGE)
#define VIRTUAL_AREA	(WINDOW + 0x30 * PAGE)

static u64 second_block(int i)
{
	return (u64)area[i] + PAGE;
}

static void areas_init(void)
{
	for (int i = 0; i < 2; i++) {
		copy(area[i], lowcore(), sizeof(area[i]));
		fill((void *)second_block(i), 0xa0 + i, PAGE);
		dat_map(VIRTUAL_AREA + i * PAGE, second_block(i));
	}
	dat_map(VIRTUAL_ONE, PAGE);
}

static void a_block_is_found_where_the_prefix_puts_it(void)
{
	struct outcome moved, translated, home;

	areas_init();
	set_prefix_to((u64)area[0]);
	make_discarded(PAGE);
	moved = touch(REAL, load, second_block(0));
	translated = touch(DAT, load, VIRTUAL_AREA);
	home = touch(REAL, load, PAGE);
	essa(SET_STABLE, PAGE);
	set_prefix_to(0);

	discard_fault(&moved, (u64)load, PAGE);
	discard_fault(&translated, (u64)load, PAGE);
	equal("the prefix area itself", home.code, NONE);
}

static void a_block_of_the_prefix_area_is_found_at_real_one(void)
{
	struct outcome one, translated, fetched, home;

	areas_init();
	set_prefix_to((u64)area[0]);
	make_discarded(second_block(0));
	one = touch(REAL, load, PAGE);
	translated = touch(DAT, store, VIRTUAL_ONE);
	fetched = run(REAL, (void *)PAGE, &(struct regs){});
	home = touch(REAL, load, second_block(0));
	essa(SET_STABLE, second_block(0));
	set_prefix_to(0);

	discard_fault(&one, (u64)load, second_block(0));
	discard_fault(&translated, (u64)store, second_block(0));
	discard_fault(&fetched, PAGE, second_block(0));
	equal("absolute block 1", home.code, NONE);
}

/* Each access was made under the old prefix just before, so its translation is cached. */
static void the_block_of_the_new_prefix_is_checked(u64 mask, u64 one)
{
	for (int i = 0; i < 20; i++) {
		struct outcome before, first, second, back;

		areas_init();
		set_prefix_to((u64)area[0]);
		before = touch(mask, load, one);
		make_discarded(second_block(1));
		set_prefix_to((u64)area[1]);
		first = touch(mask, load, one);
		second = touch(mask, store, one);
		set_prefix_to((u64)area[0]);
		back = touch(mask, load, one);
		essa(SET_STABLE, second_block(1));
		set_prefix_to(0);

		equal("first prefix", before.code, NONE);
		equal("its content", before.out.gr[1], 0xa0a0a0a0a0a0a0a0);
		discard_fault(&first, (u64)load, second_block(1));
		discard_fault(&second, (u64)store, second_block(1));
		equal("first prefix again", back.code, NONE);
		equal("its content", back.out.gr[1], 0xa0a0a0a0a0a0a0a0);
	}
}

static void set_prefix_has_real_one_checked_again(void)
{
	the_block_of_the_new_prefix_is_checked(REAL, PAGE);
}

static void set_prefix_has_a_translated_address_checked_again(void)
{
	the_block_of_the_new_prefix_is_checked(DAT, VIRTUAL_ONE);
}

/* The real blocks of a prefix area are absolute 0 and 1 only while it is one. */
static void the_old_area_is_itself_again(u64 mask, u64 address)
{
	struct outcome under, after, absolute_one;

	areas_init();
	under = touch(mask, load, address);
	set_prefix_to((u64)area[0]);
	touch(mask, load, address);		/* absolute block 1 */
	make_discarded(second_block(0));
	absolute_one = touch(mask, load, address);
	set_prefix_to(0);
	after = touch(mask, load, address);
	essa(SET_STABLE, second_block(0));

	equal("before", under.out.gr[1], 0xa0a0a0a0a0a0a0a0);
	equal("absolute block 1", absolute_one.code, NONE);
	discard_fault(&after, (u64)load, second_block(0));
}

static void set_prefix_has_the_old_area_checked_again(void)
{
	the_old_area_is_itself_again(REAL, second_block(0));
}

static void set_prefix_has_the_old_area_checked_again_translated(void)
{
	the_old_area_is_itself_again(DAT, VIRTUAL_AREA);
}

void test_prefix(void)
{
	TEST(ALWAYS, a_block_is_found_where_the_prefix_puts_it);
	TEST(ALWAYS, a_block_of_the_prefix_area_is_found_at_real_one);
	TEST(ALWAYS, set_prefix_has_real_one_checked_again);
	TEST(ALWAYS, set_prefix_has_a_translated_address_checked_again);
	TEST(ALWAYS, set_prefix_has_the_old_area_checked_again);
	TEST(ALWAYS, set_prefix_has_the_old_area_checked_again_translated);
}
