// SPDX-License-Identifier: GPL-2.0
/* What a discarded block is in the host's memory, and discards that the guest asks for. */

#include "bare.h"

static u64 page(int i)
{
	return (u64)pages[i];
}

static void the_frame_of_a_discarded_block_is_freed(void)
{
	fill(pages[BAD], 0x5a, PAGE);
	essa(SET_VOLATILE, page(BAD));
	host("discard volatile");
	equal("discarded", essa(GET, page(BAD)), Vz);
	host_at("frame", page(BAD), "gone");
	essa(SET_STABLE, page(BAD));
	host_at("frame", page(BAD), "gone");
	equal("zeros", filled(pages[BAD], 0, PAGE), 1);
}

static void the_page_map_is_what_essa_says(void)
{
	static const u8 operations[] = { SET_UNUSED, SET_VOLATILE, SET_POTENTIAL,
					 SET_STABLE_NODAT, SET_STABLE };
	static const char *const states[] = { "4", "c", "8", "20", "0" };

	fill(pages[BAD], 0x5a, PAGE);
	for (u64 i = 0; i < ARRAY_SIZE(operations); i++) {
		essa(operations[i], page(BAD));
		host_at("map", page(BAD), states[i]);
		host_at("map", page(BAD + 1), "0");
	}
}

/* Poison: the frame of a discarded block is full of it, and nobody ever sees it. */
static void a_discarded_block_is_poisoned(void)
{
	fill(pages[BAD], 0x5a, PAGE);
	make_discarded(page(BAD));
	host_at("frame", page(BAD), "poison");
	essa(SET_UNUSED, page(BAD));
	host_at("frame", page(BAD), "poison");
	essa(SET_STABLE, page(BAD));
	host_at("frame", page(BAD), "zero");
}

static void a_discarded_unused_block_is_poisoned(void)
{
	fill(pages[BAD], 0x5a, PAGE);
	essa(SET_UNUSED, page(BAD));
	host("discard unused");
	host_at("frame", page(BAD), "poison");
	equal("access without set stable: zeros", filled(pages[BAD], 0, PAGE), 1);
	essa(SET_STABLE, page(BAD));
}

static void no_operation_shows_poison(void)
{
	static const u8 operations[] = { SET_STABLE, SET_STABLE_RESIDENT, SET_STABLE_NODAT };

	for (u64 i = 0; i < ARRAY_SIZE(operations); i++) {
		make_discarded(page(BAD));
		essa(operations[i], page(BAD));
		pages[BAD][100] = 1;
		equal("zeros before", filled(pages[BAD], 0, 100), 1);
		equal("zeros after", filled(pages[BAD] + 101, 0, PAGE - 101), 1);
		essa(SET_STABLE, page(BAD));
	}
	make_discarded(page(BAD));
	essa(SET_UNUSED, page(BAD));
	equal("unused: zeros", filled(pages[BAD], 0, PAGE), 1);
	essa(SET_STABLE, page(BAD));
}

/*
 * ESSA 15, the debug operation: R1 gets the state before, and the host takes the block
 * if it might have taken it of its own accord.
 */
static void discard(int operation, int from, int to)
{
	essa(SET_STABLE, page(BAD));
	fill(pages[BAD], 0x5a, PAGE);
	if (operation)
		essa(operation, page(BAD));
	equal("before", essa(GET, page(BAD)), from);
	equal("old state", essa(DISCARD, page(BAD)), from);
	equal("after", essa(GET, page(BAD)), to);
	equal("once more", essa(DISCARD, page(BAD)), to);
	equal("stays", essa(GET, page(BAD)), to);
}

static void essa_15_takes_a_volatile_block(void)
{
	struct outcome o;

	equal("while stable", touch(DAT, load, dat_address(BAD)).code, NONE);
	discard(SET_VOLATILE, Vr, Vz);
	o = touch(DAT, load, dat_address(BAD));
	discard_fault(&o, (u64)load, page(BAD));
	essa(SET_STABLE, page(BAD));
	equal("zeros", filled(pages[BAD], 0, PAGE), 1);
}

static void essa_15_takes_an_unused_block(void)
{
	discard(SET_UNUSED, Ur, Uz);
	essa(SET_STABLE, page(BAD));
	equal("zeros", filled(pages[BAD], 0, PAGE), 1);
}

static void essa_15_leaves_a_stable_block_alone(void)
{
	discard(GET, Sr, Sr);
	equal("content kept", filled(pages[BAD], 0x5a, PAGE), 1);
	discard(SET_STABLE_NODAT, Sr | NODAT, Sr | NODAT);
	equal("content kept", filled(pages[BAD], 0x5a, PAGE), 1);
	essa(SET_STABLE, page(BAD));
}

static void essa_15_takes_a_potentially_volatile_block_only_if_unchanged(void)
{
	set_key(page(BAD), 0);
	discard(SET_POTENTIAL, Pr, Pr);		/* it has just been filled */
	equal("content kept", filled(pages[BAD], 0x5a, PAGE), 1);
	set_key(page(BAD), 0);
	equal("old state", essa(DISCARD, page(BAD)), Pr);
	equal("after", essa(GET, page(BAD)), Vz);
	essa(SET_STABLE, page(BAD));
	equal("zeros", filled(pages[BAD], 0, PAGE), 1);
}

INSN(discard_then_load, ".insn rrf,0xb9ab0000,%r1,%r2,15,0\n\tlg %r1,0(%r2)");

static void the_instruction_after_essa_15_sees_its_effect(void)
{
	struct outcome o;

	fill(pages[BAD], 0x5a, PAGE);
	essa(SET_VOLATILE, page(BAD));
	o = touch(REAL, discard_then_load, page(BAD));
	discard_fault(&o, (u64)discard_then_load + 4, page(BAD));
	essa(SET_STABLE, page(BAD));
}

static void essa_15_of_a_block_outside_storage_is_an_addressing_exception(void)
{
	equal("interruption", essa_outcome(REAL, DISCARD, ram_size()).code, ADDRESSING);
	equal("interruption", essa_outcome(REAL, DISCARD, -1UL).code, ADDRESSING);
}

void test_discard(void)
{
	TEST(PLAIN, the_frame_of_a_discarded_block_is_freed);
	TEST(PLAIN, the_page_map_is_what_essa_says);
	TEST(POISON, a_discarded_block_is_poisoned);
	TEST(POISON, a_discarded_unused_block_is_poisoned);
	TEST(POISON, no_operation_shows_poison);
	TEST(GUEST_DISCARD, essa_15_takes_a_volatile_block);
	TEST(GUEST_DISCARD, essa_15_takes_an_unused_block);
	TEST(GUEST_DISCARD, essa_15_leaves_a_stable_block_alone);
	TEST(GUEST_DISCARD, essa_15_takes_a_potentially_volatile_block_only_if_unchanged);
	TEST(GUEST_DISCARD, the_instruction_after_essa_15_sees_its_effect);
	TEST(GUEST_DISCARD, essa_15_of_a_block_outside_storage_is_an_addressing_exception);
}
